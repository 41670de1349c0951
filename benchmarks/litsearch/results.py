"""What was measured on LitSearch: recall by kind of question."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..systems.system import Work
from .data import LitSearch

SPECIFIC, BROAD = "R@5", "R@20"
"""The official cutoffs: specific questions have few answers, broad ones several (arXiv 2407.18940)."""
MEASURES = (SPECIFIC, BROAD)
ALL = "all"


@dataclass(frozen=True)
class Recall:
    """Recall on some of the questions.

    Attributes:
        specific: mean Recall@5 of the specific ones; None if there are none.
        broad: mean Recall@20 of the broad ones; None if there are none.
        pooled_5: mean Recall@5 of all of them: on all questions, mteb's ``recall_at_5``, the figure in the paper of
            LimRank.
        pooled_20: mean Recall@20 of all of them.
        questions: how many there are.
    """

    specific: float | None
    broad: float | None
    pooled_5: float
    pooled_20: float
    questions: int


@dataclass(frozen=True)
class LitSearchResult:
    """A ranking.

    Attributes:
        system: the system's label.
        variant: ``alone``; ``fused`` with the first stage; or ``ceiling``, the candidates in the best order.
        recalls: ``all``, ``inline``, ``manual``, and each query set, to its recall.
        per_query: qid to measure to value.
        work: what it took; None for the first stage.
    """

    system: str
    variant: str
    recalls: Mapping[str, Recall]
    per_query: Mapping[str, Mapping[str, float]]
    work: Work | None

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.system if self.variant == "alone" else f"{self.system}, {self.variant}"


def recalls(per_query: Mapping[str, Mapping[str, float]], data: LitSearch) -> dict[str, Recall]:
    """Average recall over kinds of questions.

    Args:
        per_query: qid to `MEASURES` to value, for all questions.
        data: the data set.

    Returns:
        Name to recall. ``inline`` questions were written by GPT-4 from a citation, ``manual`` ones by authors of the
        paper; both have two query sets.
    """
    sets = sorted(set(data.query_sets.values()))
    groups = {ALL: list(data.topics)}
    for name in ("inline", "manual"):
        groups[name] = [qid for qid in data.topics if data.query_sets[qid].startswith(f"{name}_")]
    groups |= {name: [qid for qid in data.topics if data.query_sets[qid] == name] for name in sets}
    return {name: _recall(qids, per_query, data.broad) for name, qids in groups.items() if qids}


def _recall(qids: list[str], per_query: Mapping[str, Mapping[str, float]], broad: frozenset[str]) -> Recall:
    def mean(measure: str, chosen: list[str]) -> float | None:
        return math.fsum(per_query[qid][measure] for qid in chosen) / len(chosen) if chosen else None

    return Recall(
        specific=mean(SPECIFIC, [qid for qid in qids if qid not in broad]),
        broad=mean(BROAD, [qid for qid in qids if qid in broad]),
        pooled_5=mean(SPECIFIC, qids) or 0.0,
        pooled_20=mean(BROAD, qids) or 0.0,
        questions=len(qids),
    )
