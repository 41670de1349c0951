"""HTML pages from jinja2 templates with a common look (``base.html``); they load nothing and escape everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """Render a page.

    Args:
        template: the file. It may extend ``base.html`` and import from ``macros.html``, which are in this folder.
        **values: the values for the template. All are escaped, except `markupsafe.Markup`.

    Returns:
        HTML.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    places = FileSystemLoader([template.parent, Path(__file__).parent])
    environment = Environment(
        loader=places, autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template(template.name).render(values)
