"""Our HTML pages: jinja2 templates that fetch nothing, escape everything, and look alike (``base.html``)."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

Cell = tuple[str, str]
"""A cell's text and its class: ``"text"`` stands at the left, ``""`` is a number."""


MOST = 4  # columns that a phone shows beside each other


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


STYLE = Path(__file__).with_name("page.css")


def fill(template: Path, **parts: str) -> str:
    """Fill a page's template in.

    Args:
        template: the file; ``${style}`` stands for the common style sheet.
        parts: what stands for the other names, as HTML.
    """
    return Template(template.read_text(encoding="utf-8")).substitute(parts, style=STYLE.read_text(encoding="utf-8"))


def text(value: str) -> str:
    """A text, escaped."""
    return html.escape(value)


def fold(title: str, body: str) -> str:
    """A part that opens when its title is clicked."""
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def plain(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """A table of texts.

    Args:
        header: the columns' names.
        rows: the cells.
        left: the columns that are text.
    """
    return table(header, [[(cell, "text" if n in left else "") for n, cell in enumerate(row)] for row in rows])


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], bound: Sequence[bool] = ()) -> str:
    """A table; the first column names its rows. On a phone a row of many columns becomes a block (``page.css``).

    Args:
        header: the columns' names.
        rows: the cells.
        bound: which rows are set apart from the others.
    """
    kinds = [{row[place][1] for row in rows} for place in range(len(header))]
    columns = "".join(
        f'<th scope="col"{" class=text" if kind == {"text"} else ""}>{text(name)}</th>'
        for name, kind in zip(header, kinds, strict=True)
    )
    many = len(header) > MOST
    names = [f' data-name="{text(name)}"' if many else "" for name in header[1:]]
    lines = []
    for number, ((name, _), *cells) in enumerate(rows):
        drawn = "".join(
            f"<td{f' class={kind}' if kind else ''}{called}>{text(cell)}</td>"
            for (cell, kind), called in zip(cells, names, strict=True)
        )
        mark = ' class="bound"' if number < len(bound) and bound[number] else ""
        lines.append(f'<tr{mark}><th scope="row">{text(name)}</th>{drawn}</tr>')
    body = "\n".join(lines)
    head = f"<thead><tr>{columns}</tr></thead>"
    kind = ' class="many"' if many else ""
    return f'<div class="scroll" tabindex="0"><table{kind}>{head}<tbody>\n{body}\n</tbody></table></div>'
