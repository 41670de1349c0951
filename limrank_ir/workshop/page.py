"""Our HTML pages: jinja2 templates that fetch nothing, escape everything, and look alike (``base.html``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """Fill in a page.

    Args:
        template: the file. It may extend ``base.html`` and import from ``macros.html``, which are in this folder.
        **values: what the template names. All of it is escaped, except `markupsafe.Markup`.

    Returns:
        HTML.

    Raises:
        jinja2.UndefinedError: the template names something that is not given.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    places = FileSystemLoader([template.parent, Path(__file__).parent])
    environment = Environment(
        loader=places, autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template(template.name).render(values)
