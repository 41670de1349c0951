"""The results as one HTML page that fetches nothing."""

from __future__ import annotations

from pathlib import Path

from limrank_ir.workshop.page import fill, fold, text
from limrank_ir.workshop.page import table as page_table

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
        *(fold(f"{measure} on each collection", _by_collection(report, measure)) for measure in MEASURES[1:]),
        fold("Work", _table(tables.work(report))) if report.systems else "",
        fold("Collections", _table(tables.collections(report), left=(0, 3))),
    ]
    return fill(
        Path(__file__).with_name("page.html"),
        finding=text(head),
        lede=text(sentences),
        protocol=text(tables.protocol(report)),
        measure=text(MEASURES[0]),
        averages=_table(tables.averages(report)),
        means=_both(means_svg(report, WIDE), means_svg(report, NARROW)),
        differences=_both(differences_svg(report, WIDE), differences_svg(report, NARROW)),
        by_collection=_by_collection(report, MEASURES[0]),
        notes="\n".join(f"<li>{text(note)}</li>" for note in tables.NOTES),
        details="\n".join(filter(None, details)),
        environment="\n".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in tables.facts(report).items()),
    )


def _both(wide: str, narrow: str) -> str:
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def _table(table: tables.Table, left: tuple[int, ...] = (0,)) -> str:
    header, rows = table
    cells = [[(cell, "text" if n in left else "") for n, cell in enumerate(row)] for row in rows]
    return page_table(header, cells, [row[0].endswith((BETTER, tables.CEILING)) for row in rows])


def _by_collection(report: Report, measure: str) -> str:
    """The table with what is above or below the first stage told apart."""
    header, rows = tables.by_collection(report, measure)
    cells = []
    for name, row in zip(report.collections, rows, strict=True):
        found = list(report.row(name).values())
        tones = [_tone(result.mean[measure] - found[0].mean[measure]) for result in found]
        cells.append([(row[0], ""), *zip(row[1:], [*tones, ""], strict=True)])
    return page_table(header, cells, [row[0].endswith(tables.CEILING) for row in rows])


def _tone(difference: float) -> str:
    if abs(difference) < SAME:
        return ""
    return "up" if difference > 0 else "down"
