"""The page that a person reads, and the same without texts for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.words import few
from limrank_ir.workshop.page import render

from .changes import MEASURE, Document, QueryChange
from .verdicts import shortened

TEMPLATE = Path(__file__).with_name("page.html")
PAIRS = 5  # errors that are shown of a query
TEXT_BUDGET = 12_000_000  # characters of all passages on a page, and of all thoughts: browsers open it in a second
LONGEST, SHORTEST = 4000, 300  # characters of a passage or a thought


def text_limit(count: int) -> int:
    """How many characters of each text are on the page, so that the page stays small enough.

    Args:
        count: the number of texts.

    Returns:
        A number of characters.

    Example:
        >>> text_limit(100), text_limit(10_000), text_limit(1_000_000)
        (4000, 1200, 300)
    """
    return max(SHORTEST, min(LONGEST, TEXT_BUDGET // max(1, count)))


def most_changed(changes: Sequence[QueryChange], count: int) -> list[QueryChange]:
    """The queries for the page: half of them helped most, half hurt most.

    Args:
        changes: all queries, sorted by their change.
        count: how many to keep.

    Returns:
        The queries in the same order.
    """
    if len(changes) <= count:
        return list(changes)
    return [*changes[: count - count // 2], *changes[len(changes) - count // 2 :]]


def shown_documents(change: QueryChange, k: int) -> list[Document]:
    """A query's documents on the page: the best `k` of both rankings, and those of its first errors."""
    errors = [each for pair in change.indirect[:PAIRS] for each in (pair.low, pair.high)]
    return list({each.docno: each for each in [*change.top("after", k), *change.top("before", k), *errors]}.values())


def page(
    changes: Sequence[QueryChange],
    shown: Sequence[QueryChange],
    passages: Mapping[str, Passage],
    *,
    k: int,
    facts: Mapping[str, str],
    notes: Sequence[str],
    names: tuple[str, str],
    score: str,
) -> str:
    """Write the page.

    Args:
        changes: all queries, sorted by their change.
        shown: those that are on the page (`most_changed`).
        passages: docno to passage, for the documents that are shown.
        k: documents of each ranking.
        facts: where everything comes from.
        notes: what the reader has to know.
        names: of the two rankings.
        score: what the model's numbers are called: log-odds or score.

    Returns:
        HTML that fetches nothing. All texts are escaped.
    """
    limit = text_limit(len(passages))
    data = {
        "queries": [_query(each, k) for each in shown],
        "passages": {docno: shortened(passage.reader_text, limit) for docno, passage in passages.items()},
        "names": names,
        "score": score,
    }
    counts: Counter[str] = Counter(change.change for change in shown)
    counts["indirect"] = sum(bool(change.indirect) for change in shown)
    headline, lede = _finding(changes)
    return render(
        TEMPLATE,
        headline=headline,
        lede=lede,
        filters=[(name, counts[name]) for name in ("helped", "hurt", "unchanged", "indirect")],
        total=len(shown),
        notes=notes,
        facts_=facts.items(),
        data=Markup(json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")),
    )


def _finding(changes: Sequence[QueryChange]) -> tuple[str, str]:
    """A headline and a sentence."""
    counts = Counter(change.change for change in changes)
    before = sum(change.before for change in changes) / len(changes)
    after = sum(change.after for change in changes) / len(changes)
    count = "1 query" if len(changes) == 1 else f"{len(changes):,} queries"
    headline = f"Of {count}, {counts['helped']:,} helped, {counts['hurt']:,} hurt, {counts['unchanged']:,} unchanged"
    lede = f"{MEASURE} is {before:.3f} before reranking and {after:.3f} after."
    return headline, " ".join(filter(None, (lede, few(len(changes)))))


def _query(change: QueryChange, k: int) -> dict[str, Any]:
    """A query for the page's script."""
    documents = shown_documents(change, k)
    place = {each.docno: number for number, each in enumerate(documents)}
    return {
        **_figures(change),
        "query": change.topic.query,
        "instruction": change.topic.instruction,
        "documents": [{**_document(each), "reasoning": each.judged and each.judged.reasoning} for each in documents],
        "first": [place[each.docno] for each in change.top("before", k)],
        "reranked": [place[each.docno] for each in change.top("after", k)],
        "pairs": [[place[pair.low.docno], place[pair.high.docno], pair.gap] for pair in change.indirect[:PAIRS]],
        "more": max(0, len(change.indirect) - PAIRS),
    }


def _figures(change: QueryChange) -> dict[str, Any]:
    return {
        "qid": change.topic.qid,
        "change": change.change,
        "before": change.before,
        "after": change.after,
        "difference": change.difference,
        "relevant": change.relevant,
        "highest": change.highest,
        "indirect": len(change.indirect),
    }


def _document(document: Document) -> dict[str, Any]:
    judged = document.judged
    return {
        "docno": document.docno,
        "grade": document.grade,
        "before": document.before,
        "after": document.after,
        "first_score": document.first_score,
        "score": document.score,
        "log_odds": None if judged is None else judged.log_odds,
        "probability": None if judged is None else judged.probability,
        "finish": None if judged is None else judged.finish,
    }


def records(changes: Sequence[QueryChange], about: Mapping[str, Any]) -> dict[str, Any]:
    """The same for programs: all queries and documents, without their texts and the model's reasoning.

    Args:
        changes: all queries, sorted by their change.
        about: settings, files, and environment.

    Returns:
        The record.
    """
    return {
        **about,
        "queries": [
            {
                **_figures(change),
                "documents": [_document(each) for each in change.documents],
                "indirect_pairs": [
                    {"low": pair.low.docno, "high": pair.high.docno, "gap": pair.gap} for pair in change.indirect
                ],
            }
            for change in changes
        ],
    }
