"""p-MRR: how far documents move when an instruction makes them irrelevant (FollowIR, arXiv 2403.15246)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limrank_ir.errors import InputError
from limrank_ir.formats.words import some

log = logging.getLogger("limrank_ir")


@dataclass(frozen=True)
class InstructionPair:
    """A query under two instructions.

    Attributes:
        name: the query's id without the instruction.
        original: the qid with the original instruction.
        changed: the qid with the changed one.
        documents: the changed set: docnos that the changed instruction makes irrelevant.
    """

    name: str
    original: str
    changed: str
    documents: tuple[str, ...]


@dataclass(frozen=True)
class PMrr:
    """p-MRR of a system.

    Attributes:
        mean: the mean over the queries, from -1 to 1; papers report it times 100. None if no query has a changed
            document.
        per_query: each query's mean over its changed documents.
        documents: the changed documents that were counted.
        outside: those of them that are in neither ranking and so contribute 0.
    """

    mean: float | None
    per_query: dict[str, float]
    documents: int
    outside: int


def p_mrr(pairs: Sequence[InstructionPair], scores: Mapping[str, Mapping[str, float]]) -> PMrr:
    """p-MRR by mteb's rule (mteb/_evaluators/retrieval_metrics.py: calculate_pmrr, since commit 00616c72b).

    Ranks start at 1, by score, ties by descending docno; scores are compared as they are, not as float32. A document
    that a ranking does not have is at the rank after its last one. With a shallow ranking, most changed documents are
    in neither list: they have the same rank in both and contribute 0, whatever the system does.

    Args:
        pairs: the queries. One without changed documents is left out of the mean, and so is one without a ranking,
            which is logged.
        scores: qid to docno to score, higher is better.

    Returns:
        The figures.

    Raises:
        InputError: a score is NaN, so that nothing can be ranked.

    Example:
        >>> pair = InstructionPair("1", "1-og", "1-changed", ("a",))
        >>> p_mrr([pair], {"1-og": {"a": 2.0, "b": 1.0}, "1-changed": {"a": 1.0, "b": 2.0}}).mean
        0.5
    """
    if missing := [pair.name for pair in pairs if pair.original not in scores or pair.changed not in scores]:
        log.warning(
            "p-MRR: %d of %d queries have no ranking (%s) and do not count", len(missing), len(pairs), some(missing)
        )
    left_out = set(missing)
    per_query: dict[str, float] = {}
    documents = outside = 0
    for pair in pairs:
        if pair.name in left_out or not pair.documents:
            continue
        before, after = _ranks(pair.original, scores[pair.original]), _ranks(pair.changed, scores[pair.changed])
        moves = []
        for docno in pair.documents:
            moves.append(_move(before.get(docno, len(before) + 1), after.get(docno, len(after) + 1)))
            outside += docno not in before and docno not in after
        per_query[pair.name] = math.fsum(moves) / len(moves)
        documents += len(moves)
    mean = math.fsum(per_query.values()) / len(per_query) if per_query else None
    return PMrr(mean, per_query, documents, outside)


def _ranks(qid: str, scores: Mapping[str, float]) -> dict[str, int]:
    if bad := [docno for docno, score in scores.items() if math.isnan(score)]:
        raise InputError(f"p-MRR: query {qid!r}, document {bad[0]!r}: the score is not a number; check the system")
    order = sorted(scores.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)
    return {docno: rank for rank, (docno, _) in enumerate(order, 1)}


def _move(before: int, after: int) -> float:
    """How far a document moved: above 0 is down, as it should, up to 1; below 0 is up, down to -1."""
    return after / before - 1 if before >= after else 1 - before / after
