"""results.md: the tables of a run of BRIGHT, and what to know before comparing them."""

from __future__ import annotations

from pathlib import Path

from limrank_ir.formats.files import replacing

from ..folder import write_json
from ..markdown import markdown
from .results import BrightReport, average, main_table, rows, work_table
from .versions import TASKS


def write_report(report: BrightReport, output: Path) -> None:
    """Write results.json and results.md.

    Args:
        report: the results.
        output: the folder.
    """
    write_json(output / "results.json", report.as_json())
    with replacing(output / "results.md") as file:
        file.write(as_markdown(report))


def as_markdown(report: BrightReport) -> str:
    """The report as Markdown."""
    lines = ["# BRIGHT", "", protocol(report), "", markdown(main_table(report)), ""]
    lines += [f"- {note}" for note in [*comparing(report), *report.notes]]
    header, body = work_table(report)
    if body:
        lines += ["", "## What it took", "", markdown((header, body))]
    lines += ["", "## Where the figures come from", ""]
    lines += [f"- {task}: {facts['source']} ({facts['fingerprint']})" for task, facts in report.tasks.items()]
    lines += [f"- {label}: {facts['identity']}" for label, facts in report.systems.items()]
    lines += [f"- {name}: {value}" for name, value in report.environment.items()]
    return "\n".join([*lines, ""])


def protocol(report: BrightReport) -> str:
    """How it was measured, in a paragraph."""
    settings = report.settings
    documents = "long documents" if settings["--long"] else "documents"
    prompts = "in the task's prompt" if settings["task prompts"] else "without the tasks' prompts"
    removed = sum(facts["removed"] for facts in report.tasks.values())
    reader = f"The reranker reads the original query, {prompts}. " if report.systems else ""
    return (
        f"BRIGHT {settings['--version']}, {documents}; first stage: {settings['first stage']}. {reader}"
        "nDCG@10 times 100 by trec_eval's rules (scores compared as 32-bit floats, ties by descending document id), "
        "averaged over queries, then over tasks. Excluded documents that were removed from the first stage before it "
        f"was cut: {removed}."
    )


def comparing(report: BrightReport) -> list[str]:
    """What to know before comparing these numbers with others."""
    own = 100 * average(rows(report)[0][1])
    notes = [
        f"Numbers on different first stages do not compare: this one has {own:.2f} itself. A fused number is not a "
        "reranker's own.",
        "A random order's value is the exact expectation, not a sample. A reranker below it is worse than chance; one "
        "below the first stage is better left out.",
        "The top k documents are reranked and the others dropped. Rank1 published its numbers for the top 100. "
        "LimRank's 28.0 is likely for the top 10: its released script has top_k=10, and the paper does not say.",
    ]
    if set(report.tasks) != set(TASKS):
        notes.append(f"The average is over {len(report.tasks)} of BRIGHT's 12 tasks: do not compare it with theirs.")
    return notes
