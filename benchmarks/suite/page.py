"""The results as one HTML page that fetches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from limrank_ir.workshop.page import render

from ..markdown import Table
from . import tables
from .plot import NARROW, WIDE, differences_svg, means_svg
from .results import BETTER, MEASURES, SAME, SuiteReport

TEMPLATE = Path(__file__).with_name("page.html")


def page(report: SuiteReport) -> str:
    """Write the page.

    Args:
        report: the results. All names are escaped.

    Returns:
        HTML.
    """
    headline, sentences = tables.finding(report)
    by_measure = [_by_collection(report, measure) for measure in MEASURES]
    return render(
        TEMPLATE,
        headline=headline,
        sentences=sentences,
        protocol=tables.protocol(report),
        averages=_averages(report),
        means_wide=Markup(means_svg(report, WIDE)),
        means_narrow=Markup(means_svg(report, NARROW)),
        differences_wide=Markup(differences_svg(report, WIDE)),
        differences_narrow=Markup(differences_svg(report, NARROW)),
        primary=by_measure[0],
        others=by_measure[1:],
        compared=_table(tables.overall(report, by_measure[0]["measure"])) if report.systems else None,
        comparisons=_comparisons(report) if report.systems else [],
        notes=tables.notes(report),
        work=_table(tables.work(report)),
        work_notes=tables.work_notes(report),
        calibrations=[
            {"system": system, "text": text, **_table(table)}
            for system, (text, table) in tables.calibrations(report).items()
        ],
        collections=_table(tables.collections(report)),
        environment=tables.facts(report).items(),
    )


def _table(table: Table) -> dict[str, Any]:
    header, rows = table
    return {"header": header, "rows": rows}


def _averages(report: SuiteReport) -> dict[str, Any]:
    """The means; rows that are bounds rather than systems are set apart."""
    table = _table(tables.averages(report))
    return {**table, "bound": [row[0].endswith((BETTER, tables.CEILING)) for row in table["rows"]]}


def _comparisons(report: SuiteReport) -> list[dict[str, Any]]:
    """The comparisons that are folded away: over all collections by the other measures, and on each collection."""
    others = [
        {"title": f"{measure}: comparison with the first stage over all collections", "left": [0, 9]}
        | _table(tables.overall(report, measure))
        for measure in MEASURES[1:]
    ]
    return others + [
        {"title": f"{measure}: comparison with the first stage on each collection", "left": [0, 1, 10]}
        | _table(tables.comparisons(report, measure))
        for measure in MEASURES
        if len(report.collections) > 1
    ]


def _by_collection(report: SuiteReport, measure: str) -> dict[str, Any]:
    """A measure on each collection; figures above and below the first stage have different classes."""
    header, rows = tables.by_collection(report, measure)
    marked = []
    for collection, (name, *figures, ceiling) in zip(report.collections, rows, strict=True):
        first = report.first_stage(collection).mean[measure]
        classes = [_class(result.mean[measure] - first) for result in report.on(collection).values()]
        marked.append([name, *zip(figures, classes, strict=True), ceiling])
    return {"measure": measure, "header": header, "rows": marked}


def _class(difference: float) -> str:
    if abs(difference) < SAME:
        return ""
    return "up" if difference > 0 else "down"
