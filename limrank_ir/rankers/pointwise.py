"""Pointwise: each passage is judged alone, and its score is how far the model prefers *true* over *false*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from limrank_ir.rankers.labels import labels
from limrank_ir.rankers.lockstep import Part
from limrank_ir.rankers.order import Candidates, Steps, at_least, scored, within
from limrank_ir.rankers.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointwise:
    """Rank by log-odds, ``logprob(true) - logprob(false)``, as `limrank_ir.LimRank` does.

    Attributes:
        depth: how many of the first candidates to judge; the others follow in their old order. None: all.

    Raises:
        InputError: the depth is below 0.
    """

    depth: int | None = None

    def __post_init__(self) -> None:
        at_least(0, depth=self.depth)

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query, in one batch."""
        count = len(candidates.texts)
        tally = Tally()
        odds = yield from log_odds(candidates, range(within(self.depth, count)), tally)
        return scored(count, odds, tally.counts)

    def calls(self, count: int) -> int:
        """The questions that a number of candidates costs: one each."""
        return within(self.depth, count)


def log_odds(candidates: Candidates, indices: Sequence[int], tally: Tally) -> Part[dict[int, float]]:
    """Judge candidates one by one.

    Args:
        candidates: the candidates.
        indices: which of them.
        tally: counts.

    Returns:
        The log-odds of those whose answers are usable.
    """
    read = yield from tally.ask([candidates.read("judge", [index]) for index in indices], labels(2))
    return {index: found[0] - found[1] for index, found in zip(indices, read, strict=True) if found is not None}
