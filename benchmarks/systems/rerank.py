"""Rerank the candidates of a first stage with a system: alone, and fused with the first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limrank_ir.cli import console
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import RunEntry
from limrank_ir.ranking.candidates import Candidates
from limrank_ir.ranking.fusion import FIRST_STAGE, MODEL, fuse

from .system import QueryPairs, ScoredRun, Scorer, System, Work


@dataclass(frozen=True)
class Reranked:
    """A system's two rankings of the same candidates.

    Attributes:
        alone: by the system's scores.
        fused: by `limrank_ir.fuse` of its scores and the first stage's.
        work: what it took.
    """

    alone: ScoredRun
    fused: ScoredRun
    work: Work


def rerank(
    system: System,
    score: Scorer,
    documents: Mapping[str, Sequence[RunEntry]],
    topics: Mapping[str, Topic],
    passages: Mapping[str, Passage],
    *,
    label: str,
) -> Reranked:
    """Score all candidates.

    Args:
        system: the system.
        score: what its `start` returned.
        documents: qid to the candidates, with the first stage's scores.
        topics: what the system reads, for these queries.
        passages: what it reads, for these documents.
        label: what the progress bar says after the system's name.

    Returns:
        Both rankings; queries and documents in the order of `documents`.
    """
    pairs = QueryPairs(Candidates(documents, topics, passages).pairs(), map(len, documents.values()))
    with console.progress(f"{system.label} on {label}", len(pairs), "pairs") as advance:
        scores, work = score(pairs, advance)
    remaining = iter(scores)
    alone: ScoredRun = {}
    fused: ScoredRun = {}
    for qid, entries in documents.items():
        docnos = [entry.docno for entry in entries]
        own = [next(remaining) for _ in entries]
        first = [entry.score for entry in entries]
        weights = {FIRST_STAGE: 1 - system.weight, MODEL: system.weight}
        both = fuse({FIRST_STAGE: first, MODEL: own}, weights).tolist()
        alone[qid] = list(zip(docnos, own, strict=True))
        fused[qid] = list(zip(docnos, both, strict=True))
    return Reranked(alone, fused, work)
