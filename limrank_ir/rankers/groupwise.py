"""Groupwise: the model grades all passages of a group, which it can compare (GroupRank, arXiv 2511.11653).

All candidates are shuffled and cut into groups, several times; a passage's grade is the mean of those that it got. It
is fused with the first stage's score: ``0.6 * grade / 10 + 0.4 * score`` (`github AQ-MedAI/Diver:
Reranker/rerank_groupwise.py`, groups of 10, 2 repeats). There, the scores are added as the retriever gives them. BM25's
would drown the grades, so scores are scaled to [0, 1] over the query's candidates unless you say otherwise.

A passage without any grade, because its answers were unusable or left it out, follows behind the graded ones in its old
order; in the authors' code, it has the grade 0 or disappears.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from limrank_ir.errors import InputError
from limrank_ir.rankers.grades import grades
from limrank_ir.rankers.order import Candidates, Steps, at_least, scored, within
from limrank_ir.rankers.tally import Tally

HIGHEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Groupwise:
    """Rank by grades given in groups.

    Attributes:
        window: how many passages a group has; the last one can have fewer.
        repeats: how often all candidates are shuffled and graded.
        share: the grades' share in the fused score, from 0 to 1; without scores of the first stage, grades alone count.
        scale: scale the first stage's scores to [0, 1], query by query; False: take them as they are (the authors').
        depth: how many of the first candidates to grade; the others follow in their old order. None: all.
        seed: for the shuffles.

    Raises:
        InputError: a number is too low, or the share is not from 0 to 1.
    """

    window: int = 10
    repeats: int = 2
    share: float = 0.6
    scale: bool = True
    depth: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(0, depth=self.depth)
        at_least(1, window=self.window, repeats=self.repeats)
        if not 0 <= self.share <= 1:
            raise InputError(f"groupwise: the grades' share is {self.share!r}; give a number from 0 to 1")

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query, in one batch."""
        count = len(candidates.texts)
        indices = range(within(self.depth, count))
        groups: list[tuple[int, list[int]]] = []
        for repeat in range(self.repeats):
            shuffled = random.Random(f"{self.seed} {repeat} {candidates.query}").sample(indices, len(indices))
            starts = range(0, len(shuffled), self.window)
            groups += [(repeat, shuffled[start : start + self.window]) for start in starts]
        tally = Tally()
        writes = [candidates.write("grades", shown, sample=repeat) for repeat, shown in groups]
        answers = yield from tally.ask(writes, grades(HIGHEST))
        given: dict[int, list[float]] = {}
        for (_, shown), answer in zip(groups, answers, strict=True):
            for place, grade in (answer or {}).items():
                given.setdefault(shown[place], []).append(grade / HIGHEST)
        first = _scaled(candidates, len(indices)) if self.scale else candidates.scores
        means = {index: math.fsum(found) / len(found) for index, found in given.items()}
        if first is not None:
            means = {index: self.share * mean + (1 - self.share) * first[index] for index, mean in means.items()}
        return scored(count, means, tally.counts)

    def calls(self, count: int) -> int:
        """The questions that a number of candidates costs: ``repeats * ceil(N / window)``."""
        return self.repeats * math.ceil(within(self.depth, count) / self.window)


def _scaled(candidates: Candidates, depth: int) -> list[float] | None:
    if candidates.scores is None:
        return None
    scores = candidates.scores[:depth]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - low) / (high - low) if high > low else 0.0 for score in scores]
