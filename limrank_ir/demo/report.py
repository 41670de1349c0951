"""The page that ``limrank demo`` writes: one self-contained HTML file with both rankings of every query."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from limrank_ir.demo import wording
from limrank_ir.demo.chart import bar_chart
from limrank_ir.demo.wording import STATES, TONES
from limrank_ir.workshop import page

TEMPLATE = Path(__file__).with_name("report.html")

TEXT_LIMIT = 700
"""Characters of a passage that the page shows."""

LINE_LIMIT = 160
"""Characters of a passage's first line that its closed row shows."""

BAR_LIMIT = 16.0
"""The largest log-odds that the bars' scale shows, so that one outlier does not flatten all other bars."""

_JOINT = re.compile(r"(?<=[a-z0-9][._/])(?=[A-Za-z])")  # where a long name may break
# Characters that HTML cannot hold or that reorder text.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


@dataclass(frozen=True)
class ReportedPassage:
    """A passage in a ranking.

    Attributes:
        docno: name of the passage.
        text: the passage; the page shows its first 700 characters.
        score: the first stage's score, or the reranker's log-odds (natural log).
        grade: 0 (not judged relevant), 1, or 2.
    """

    docno: str
    text: str
    score: float
    grade: int


@dataclass(frozen=True)
class QueryReport:
    """A query and its two rankings.

    Attributes:
        qid: name of the query.
        query: its text.
        before: the top of the first stage's ranking, best first.
        after: the top of the reranker's, best first; it may be shorter, or empty.
        measures: name of a measure to its value (before, after).
    """

    qid: str
    query: str
    before: list[ReportedPassage]
    after: list[ReportedPassage]
    measures: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class DemoReport:
    """What the page reports.

    Attributes:
        title: title of the page.
        first_stage: name of the first stage, such as ``BM25``.
        reranker: name of the whole pipeline, such as ``BM25 >> limrank-smol``.
        collection: the collection in one line.
        measures: name of a measure to its mean (before, after). The headline and the queries' differences are in
            nDCG@10, or in the first measure if that is missing.
        seconds: wall-clock time for all queries (before, after).
        pairs: (query, passage) pairs that the reranker read.
        queries: the queries in the order of the run. Queries without the headline's measure count as unchanged.
        environment: versions, hardware, command: where the numbers come from.
    """

    title: str
    first_stage: str
    reranker: str
    collection: str
    measures: dict[str, tuple[float, float]]
    seconds: tuple[float, float]
    pairs: int
    queries: list[QueryReport]
    environment: dict[str, str]


def render(report: DemoReport) -> str:
    """Render the report as one HTML page that fetches nothing.

    Args:
        report: what to report. All of its text is escaped.

    Returns:
        The page.
    """
    measure = "nDCG@10" if "nDCG@10" in report.measures else next(iter(report.measures), "nDCG@10")
    deltas = [wording.delta(query.measures.get(measure, (0.0, 0.0))) for query in report.queries]
    counts = {state: sum(wording.state(delta) == state for delta in deltas) for state in STATES}
    limit = _bar_limit(report)
    html = page.render(
        TEMPLATE,
        title=report.title,
        first_stage=report.first_stage,
        reranker=report.reranker,
        collection=report.collection,
        measure=measure,
        finding=wording.finding(measure, report.measures.get(measure)),
        lede=_lede(report, counts),
        means=_means(report),
        counts=counts if deltas and report.measures else {},
        tones=TONES,
        chart=bar_chart(deltas, [query.query for query in report.queries]) if deltas else None,
        limit=f"{limit:.0f}",
        filters={"all": len(deltas), **counts},
        queries=[_query(query, delta, limit) for query, delta in zip(report.queries, deltas, strict=True)],
        environment=report.environment.items(),
    )
    return _UNPRINTABLE.sub("\ufffd", html)


def _bar_limit(report: DemoReport) -> float:
    """The log-odds at which a bar is full, one scale for the whole page."""
    sizes = (abs(passage.score) for query in report.queries for passage in query.after)
    largest = max((size for size in sizes if math.isfinite(size)), default=BAR_LIMIT)
    return float(min(max(math.ceil(largest), 1), BAR_LIMIT))


def _lede(report: DemoReport, counts: dict[str, int]) -> str:
    names = report.first_stage, report.reranker
    if not report.queries:
        return wording.no_queries(*names)
    cost = wording.cost(report.first_stage, report.seconds, report.pairs)
    return f"{wording.comparison(*names, counts)} {cost}" if report.measures else cost


def _means(report: DemoReport) -> list[dict[str, str]]:
    """Rows of the table: the means, and the time they took."""
    rows = []
    for name, (before, after) in report.measures.items():
        delta = wording.delta((before, after))
        rows.append(
            {
                "name": name,
                "before": f"{before:.3f}",
                "after": f"{after:.3f}",
                "difference": wording.signed(delta),
                "tone": TONES[wording.state(delta)],
            }
        )
    before, after = report.seconds
    sign = wording.MINUS if after < before else "+"
    rows.append(
        {
            "name": "Time",
            "before": wording.duration(before),
            "after": wording.duration(after),
            "difference": sign + wording.duration(abs(after - before)),
            "tone": "same",
        }
    )
    return rows


def _query(query: QueryReport, delta: float, limit: float) -> dict[str, Any]:
    old_ranks, new_ranks = _ranks(query.before), _ranks(query.after)
    before = []
    for rank, passage in enumerate(query.before, 1):
        move = wording.where_to(rank, new_ranks.get(passage.docno))
        score = wording.signed(passage.score, 2).removeprefix("+")
        before.append({**_passage(rank, passage, move), "score": score})
    after = []
    for rank, passage in enumerate(query.after, 1):
        move = wording.where_from(rank, old_ranks.get(passage.docno))
        score = wording.signed(passage.score, 2)
        after.append({**_passage(rank, passage, move), "score": score, **_bar(passage.score, limit)})
    return {
        "qid": query.qid,
        "query": query.query,
        "state": wording.state(delta),
        "delta": f"{delta:.6f}",
        "difference": wording.signed(delta),
        "measures": [f"{name} {old:.3f} → {new:.3f}" for name, (old, new) in query.measures.items()],
        "strips": {"before": _strip(query.before), "after": _strip(query.after)},
        "before": before,
        "after": after,
    }


def _ranks(passages: Sequence[ReportedPassage]) -> dict[str, int]:
    """The rank of each docno. If one occurs twice, its best rank counts."""
    ranks: dict[str, int] = {}
    for rank, passage in enumerate(passages, 1):
        ranks.setdefault(passage.docno, rank)
    return ranks


def _strip(passages: Sequence[ReportedPassage]) -> dict[str, Any]:
    """The ranks at which a ranking has its relevant passages."""
    grades = {rank: _grade(passage) for rank, passage in enumerate(passages, 1) if passage.grade > 0}
    label = ", ".join(f"grade {grade} at rank {rank}" for rank, grade in grades.items()) or "nothing relevant"
    return {"grades": grades, "label": label, "length": len(passages)}


def _passage(rank: int, passage: ReportedPassage, move: tuple[str, str]) -> dict[str, Any]:
    text = passage.text.strip()
    return {
        "rank": rank,
        "docno": passage.docno,
        "name": Markup("<wbr>").join(_JOINT.split(passage.docno)),
        "grade": _grade(passage),
        "line": _cut(text.partition("\n")[0], LINE_LIMIT),
        "text": _cut(text, TEXT_LIMIT),
        "move": move[0],
        "move_label": move[1],
    }


def _grade(passage: ReportedPassage) -> int:
    return min(max(passage.grade, 0), 2)


def _bar(log_odds: float, limit: float) -> dict[str, Any]:
    size = 0.0 if math.isnan(log_odds) else min(abs(log_odds) / limit, 1.0)
    return {"probability": wording.probability(log_odds), "bar": f"{size:.3f}", "negative": log_odds < 0}


def _cut(text: str, limit: int) -> str:
    """Shorten to `limit` characters and an ellipsis, between words unless they are very long."""
    if len(text) <= limit:
        return text
    kept = re.sub(r"(?<=\s)\S{1,40}\Z", "", text[: limit + 1])[:limit]
    return kept.rstrip() + " …"
