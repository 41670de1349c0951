"""The tables and the page of ``limrank bench litsearch``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.formats.files import replacing

from ..markdown import Table
from ..markdown import markdown as markdown_table
from .results import ALL, LitSearchResult

NOTES = (
    "specific: Recall@5 of specific questions; broad: Recall@20 of broad ones: the official measures (arXiv "
    "2407.18940).",
    "pooled R@5: Recall@5 over all questions, which is mteb's recall_at_5 and what LimRank and Rank1 report. mteb's "
    "nDCG@10 is not here: its grades are the order of the papers in the data set.",
    "ceiling: the same candidates with the relevant papers first; no reranker of them can be above it.",
    "fused: the weighted sum of the reranker's and the first stage's standardized scores (docs/fusion.md).",
    "bm25 is PISA's, with k1 0.9 and b 0.4, on title and abstract. LitSearch's own BM25 is rank_bm25 with other words "
    "and parameters, so its published values are for another first stage.",
)


def table(results: Sequence[LitSearchResult]) -> Table:
    """The official and the pooled figures, in percent: header and rows.

    Args:
        results: the results.

    Returns:
        The table.
    """
    rows = []
    for result in results:
        found = result.recalls[ALL]
        rows.append([result.label, *map(_percent, (found.specific, found.broad, found.pooled_5, found.pooled_20))])
    return ["ranking", "specific R@5", "broad R@20", "pooled R@5", "pooled R@20"], rows


def by_query_set(results: Sequence[LitSearchResult]) -> Table:
    """Specific Recall@5 and broad Recall@20 by where the questions come from: header and rows.

    Args:
        results: the results.

    Returns:
        The table.
    """
    names = [name for name in results[0].recalls if name != ALL]
    columns = [(name, kind) for name in names for kind in ("specific", "broad")]
    used = [(name, kind) for name, kind in columns if getattr(results[0].recalls[name], kind) is not None]
    rows = [
        [result.label, *(_percent(getattr(result.recalls[name], kind)) for name, kind in used)] for result in results
    ]
    return ["ranking", *(f"{name}, {kind}" for name, kind in used)], rows


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def write_report(
    output: Path, results: Sequence[LitSearchResult], facts: Mapping[str, Any], k: int, card: Mapping[str, Any]
) -> None:
    """Write results.md.

    Args:
        output: the folder.
        results: the results.
        facts: the data set and the first stage, in numbers.
        k: papers reranked for each question.
        card: the run card.
    """
    parts = [
        "# LitSearch",
        f"{facts['questions']} questions ({facts['broad']} broad), {facts['papers']:,} papers (title and abstract). "
        f"The first {k} of {facts['first_stage']}: {facts['pairs']:,} pairs, which hold "
        f"{100 * facts['candidates_recall']:.1f}% of a question's relevant papers on average.",
        markdown_table(table(results)),
        "\n".join(f"- {note}" for note in NOTES),
        f"## By query set\n\n{markdown_table(by_query_set(results))}",
        "## How this was made\n\n"
        + "\n".join(f"- {name}: `{value}`" for name, value in card["environment"].items())
        + "\n\n`card.json` has the hashes of the data and the identities of the systems.",
    ]
    with replacing(output / "results.md") as file:
        file.write("\n\n".join(parts) + "\n")
