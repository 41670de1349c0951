"""The output folder: results.md, .csv, .json, .html, and plot.png."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import secrets
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing

from ..markdown import markdown as markdown_table
from ..systems.system import Work
from . import tables
from .page import page
from .plot import png
from .results import MEASURES, SuiteReport, SystemResult, summaries


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
    """Read the results of an earlier run, to write its pages again.

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
        results = [
            SystemResult(**{**record, "work": None if record["work"] is None else Work(**record["work"])})
            for record in (
                {name: value for name, value in each.items() if name != "label"} for each in found["results"]
            )
        ]
        return SuiteReport(results, found["collections"], found["systems"], found["settings"], found["environment"])
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a folder that the suite wrote") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file}: not the results of the suite ({error}); check the folder") from error


def as_json(report: SuiteReport) -> dict[str, Any]:
    """Everything, unrounded."""
    return {
        "settings": report.settings,
        "environment": report.environment,
        "collections": report.collections,
        "systems": report.systems,
        "averages": {
            measure: [dataclasses.asdict(summary) for summary in summaries(report.results, measure)]
            for measure in MEASURES
        },
        "work": {system: dataclasses.asdict(done) for system, done in report.work().items()},
        "results": [_record(result) for result in report.results],
    }


def _record(result: SystemResult) -> dict[str, Any]:
    return {**dataclasses.asdict(result), "label": result.label}


def markdown(report: SuiteReport) -> str:
    """The results in Markdown."""
    head, sentences = tables.finding(report)
    parts = [
        f"# {head}\n\n{sentences}\n\n{tables.protocol(report)}",
        "![Means and differences](plot.png)",
        f"## Means over the collections\n\n{markdown_table(tables.averages(report))}",
        "\n".join(f"- {note}" for note in tables.NOTES),
        *(f"## {measure}\n\n{markdown_table(tables.by_collection(report, measure))}" for measure in MEASURES),
        f"## Work\n\n{markdown_table(tables.work(report))}" if report.systems else "",
        f"## Collections\n\n{markdown_table(tables.collections(report), left=(0, 3))}",
        "## How this was made\n\n" + "\n".join(f"- {name}: `{value}`" for name, value in tables.facts(report).items()),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
