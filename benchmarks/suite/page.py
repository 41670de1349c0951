"""The results as one HTML page that fetches nothing."""

from __future__ import annotations

import html
from functools import cache
from pathlib import Path
from string import Template

from . import tables
from .plot import NARROW, WIDE, differences_svg, means_svg
from .results import BETTER, MEASURES, SAME, Report


def page(report: Report) -> str:
    """Write the page.

    Args:
        report: the results; names may hold anything, all of it is escaped.

    Returns:
        The page.
    """
    head, sentences = tables.finding(report)
    details = [
        *(_fold(f"{measure} on each collection", _by_collection(report, measure)) for measure in MEASURES[1:]),
        _fold("Work", _table(tables.work(report))) if report.systems else "",
        _fold("Collections", _table(tables.collections(report), left=(0, 3))),
    ]
    return _template().substitute(
        finding=_text(head),
        lede=_text(sentences),
        protocol=_text(tables.protocol(report)),
        measure=_text(MEASURES[0]),
        averages=_table(tables.averages(report)),
        means=_both(means_svg(report, WIDE), means_svg(report, NARROW)),
        differences=_both(differences_svg(report, WIDE), differences_svg(report, NARROW)),
        by_collection=_by_collection(report, MEASURES[0]),
        notes="\n".join(f"<li>{_text(note)}</li>" for note in tables.NOTES),
        details="\n".join(filter(None, details)),
        environment="\n".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in tables.facts(report).items()),
    )


@cache
def _template() -> Template:
    return Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def _text(value: str) -> str:
    return html.escape(value)


def _both(wide: str, narrow: str) -> str:
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def _fold(title: str, table: str) -> str:
    return f"<details><summary>{_text(title)}</summary>{table}</details>"


def _table(table: tables.Table, left: tuple[int, ...] = (0,)) -> str:
    header, rows = table
    return _drawn(header, [[(cell, "text" if n in left else "") for n, cell in enumerate(row)] for row in rows])


def _by_collection(report: Report, measure: str) -> str:
    """The table with what is above or below the first stage told apart."""
    header, rows = tables.by_collection(report, measure)
    cells = []
    for name, row in zip(report.collections, rows, strict=True):
        found = list(report.row(name).values())
        tones = [_tone(result.mean[measure] - found[0].mean[measure]) for result in found]
        cells.append([(row[0], ""), *zip(row[1:], [*tones, ""], strict=True)])
    return _drawn(header, cells)


def _tone(difference: float) -> str:
    if abs(difference) < SAME:
        return ""
    return "up" if difference > 0 else "down"


def _drawn(header: list[str], rows: list[list[tuple[str, str]]]) -> str:
    first, *others = (f'<th scope="col">{_text(name)}</th>' for name in header)
    lines = []
    for (name, _), *cells in rows:
        columns = "".join(
            f'<td class="{kind}">{_text(cell)}</td>' if kind else f"<td>{_text(cell)}</td>" for cell, kind in cells
        )
        bound = ' class="bound"' if name.endswith((BETTER, tables.CEILING)) else ""
        lines.append(f'<tr{bound}><th scope="row">{_text(name)}</th>{columns}</tr>')
    body = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{first}{"".join(others)}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
