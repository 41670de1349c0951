"""The tables and the page of ``limrank bench followir``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.formats.files import replacing

from ..markdown import Table
from ..markdown import markdown as markdown_table
from .results import FollowIrResult, averages
from .task import MAP, NDCG, InstructionTask

NOTES = (
    "p-MRR is reported times 100 and goes from -100 to 100: above 0, documents that the changed instruction makes "
    "irrelevant moved down, as they should; 0 means that the instruction changed nothing on average (FollowIR, arXiv "
    "2403.15246; mteb's rule for ties). 95%: the interval of a bootstrap over the queries. outside: changed documents "
    "that are in neither ranking and contribute 0.",
    "Only the tasks core17, news21, and robust04 with all their candidates compare with published values. A stand-in's "
    "figures compare systems on that stand-in.",
    "right: how often the passage that respects the query's constraint is ranked above the one that does not; a tie is "
    "not right. twins: how often that holds for both of two queries that want each other's worse passage: a system "
    "that looks only at the passages has none, a coin a quarter.",
    f"{MAP} and {NDCG}: the ranking's quality under the original instructions, and under the changed ones.",
)


def table(tasks: Sequence[InstructionTask], results: Sequence[FollowIrResult]) -> Table:
    """All results, one row for each task and system.

    Args:
        tasks: the tasks.
        results: the results.

    Returns:
        Header and rows.
    """
    kinds = {task.name: task for task in tasks}
    header = [
        "task",
        "system",
        "p-MRR",
        "95%",
        "outside",
        MAP,
        f"{MAP} changed",
        NDCG,
        f"{NDCG} changed",
        "right",
        "twins",
    ]
    rows = []
    for result in results:
        found, right = result.p_mrr, result.right
        official = kinds[result.task].measure
        rows.append(
            [
                result.task,
                result.system,
                "" if found is None or found.mean is None else f"{100 * found.mean:+.1f}",
                ""
                if result.interval is None
                else f"{100 * result.interval[0]:+.1f} to {100 * result.interval[1]:+.1f}",
                "" if found is None else f"{found.outside} of {found.documents}",
                *(
                    _number(side, measure, official)
                    for measure in (MAP, NDCG)
                    for side in (result.original, result.changed)
                ),
                "" if right is None else _share(right.right, right.pairs),
                "" if right is None or not right.twins else _share(right.both, right.twins),
            ]
        )
    used = [column for column in range(len(header)) if column < 2 or any(row[column] for row in rows)]
    return [header[column] for column in used], [[row[column] for column in used] for row in rows]


def _number(means: Mapping[str, float], measure: str, official: str | None) -> str:
    """A measure; the official one of a task has an asterisk."""
    return f"{means[measure]:.3f}{'*' * (measure == official)}" if measure in means else ""


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}% ({part} of {whole})"


def averages_table(means: Mapping[str, Mapping[str, float]]) -> Table:
    """The official averages: header and rows."""
    rows = [[system, f"{100 * found['p-MRR']:+.2f}", f"{100 * found['score']:.1f}"] for system, found in means.items()]
    return ["system", "p-MRR, mean of three", "score"], rows


def write_report(
    output: Path,
    tasks: Sequence[InstructionTask],
    results: Sequence[FollowIrResult],
    protocol: str,
    card: Mapping[str, Any],
) -> None:
    """Write results.md.

    Args:
        output: the folder.
        tasks: the tasks.
        results: the results.
        protocol: how they were measured, in a sentence.
        card: the run card.
    """
    means = averages(results)
    parts = [
        "# Does the ranking follow the instruction?",
        protocol,
        markdown_table(table(tasks, results), left=(0, 1)),
        f"## Averages\n\n{markdown_table(averages_table(means))}" if means else "",
        "\n".join(f"- {note}" for note in NOTES),
        "## Tasks\n\n" + "\n".join(_facts(task) for task in tasks),
        "## How this was made\n\n"
        + "\n".join(f"- {name}: `{value}`" for name, value in card["environment"].items())
        + "\n\n`card.json` has the hashes of the data and the identities of the systems.",
    ]
    with replacing(output / "results.md") as file:
        file.write("\n\n".join(filter(None, parts)) + "\n")


def _facts(task: InstructionTask) -> str:
    pairs = f"; {len(task.pairs)} pairs of an original and a changed instruction" if task.pairs else ""
    preferences = f"; {len(task.preferences)} pairs of a better and a worse passage" if task.preferences else ""
    return (
        f"- {task.name}: {task.kind}{pairs}{preferences}. {len(task.topics)} queries, {task.count:,} pairs scored "
        f"(up to {max(map(len, task.candidates.values()))} of {task.given} candidates)."
    )
