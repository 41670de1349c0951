"""The output folder: results.md, .csv, .json, .html, and plot.png."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing

from ..markdown import markdown as markdown_table
from ..systems.system import Work
from . import tables
from .page import page
from .plot import png
from .results import MEASURES, Statistics, SuiteReport, SystemResult, summaries, with_comparisons


def write_report(report: SuiteReport, output: Path) -> None:
    """Write all files.

    Args:
        report: the results.
        output: the folder.

    Raises:
        InputError: a file cannot be written.
    """
    with replacing(output / "results.json") as file:
        json.dump(as_json(report), file, ensure_ascii=False, indent=1)
    with replacing(output / "results.csv") as file:
        header, rows = tables.all_figures(report)
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    with replacing(output / "results.md") as file:
        file.write(markdown(report))
    with replacing(output / "results.html") as file:
        file.write(page(report))
    image = output / "plot.png"
    temporary = image.with_name(f".{image.name}.{secrets.token_hex(4)}")
    temporary.write_bytes(png(report))
    os.replace(temporary, image)


def read_report(folder: Path) -> SuiteReport:
    """Read the results of an earlier run, to write its pages again. Comparisons are computed again from the figures.

    Args:
        folder: an output folder of the suite.

    Returns:
        The report.

    Raises:
        InputError: the folder has no results.json, or it is not the suite's.
    """
    file = folder / "results.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        results = [_result(record) for record in found["results"]]
        settings = {**found["settings"], "statistics": found["settings"].get("statistics", {})}
        statistics = Statistics(**settings["statistics"])
        settings["statistics"] = dataclasses.asdict(statistics)
        return SuiteReport(
            results=with_comparisons(results, statistics),
            collections=found["collections"],
            systems=found["systems"],
            settings=settings,
            environment=found["environment"],
            statistics=statistics,
            fusions=found.get("fusions", {}),
        )
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a folder that the suite wrote") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file}: not the results of the suite ({error}); check the folder") from error


def _result(record: dict[str, Any]) -> SystemResult:
    """A result without what follows from it. Older versions did not count everything."""
    own = {name: value for name, value in record.items() if name not in ("label", "p", "comparisons")}
    work = None if own["work"] is None else Work(**own["work"])
    return SystemResult(**{**own, "work": work})


def as_json(report: SuiteReport) -> dict[str, Any]:
    """Everything, unrounded."""
    return {
        "settings": report.settings,
        "environment": report.environment,
        "collections": report.collections,
        "systems": report.systems,
        **({"fusions": report.fusions} if report.fusions else {}),
        "averages": {
            measure: [dataclasses.asdict(summary) for summary in summaries(report.results, measure)]
            for measure in MEASURES
        },
        "overall": {
            measure: {label: found.as_json() for label, found in by_label.items()}
            for measure, by_label in report.overall.items()
        },
        "work": {system: done.totals for system, done in report.work().items()},
        "results": [_record(result) for result in report.results],
    }


def _record(result: SystemResult) -> dict[str, Any]:
    comparisons = {measure: found.as_json() for measure, found in result.comparisons.items()}
    work = None if result.work is None else result.work.totals
    found = {**dataclasses.asdict(result), "work": work, "comparisons": comparisons}
    return {**found, "p": result.p, "label": result.label}


def markdown(report: SuiteReport) -> str:
    """The results in Markdown."""
    head, sentences = tables.finding(report)
    compared = [
        f"## {measure}: {text}\n\n{markdown_table(table(report, measure), left)}"
        for text, table, left in (
            ("comparison with the first stage over all collections", tables.overall, (0, 9)),
            ("comparison with the first stage on each collection", tables.comparisons, (0, 1, 10)),
        )
        for measure in MEASURES
        if report.systems and (table is tables.overall or len(report.collections) > 1)
    ]
    calibrated = [
        f"## Calibration of {system}\n\n{text}\n\n{markdown_table(table)}"
        for system, (text, table) in tables.calibrations(report).items()
    ]
    parts = [
        f"# {head}\n\n{sentences}\n\n{tables.protocol(report)}",
        "![Means and differences](plot.png)",
        f"## Means over the collections\n\n{markdown_table(tables.averages(report))}",
        _list(tables.notes(report)),
        *(f"## {measure}\n\n{markdown_table(tables.by_collection(report, measure))}" for measure in MEASURES),
        *compared,
        f"## Work\n\n{markdown_table(tables.work(report))}\n\n{_list(tables.work_notes(report))}",
        *calibrated,
        f"## Collections\n\n{markdown_table(tables.collections(report), left=(0, 3))}",
        "## How this was made\n\n" + _list([f"{name}: `{value}`" for name, value in tables.facts(report).items()]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
