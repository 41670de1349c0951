"""Two stages: one ranker orders all candidates, and another one the best of them (DeAR, arXiv 2508.16998)."""

from __future__ import annotations

from dataclasses import dataclass, field

from limrank_ir.rankers.listwise import Listwise
from limrank_ir.rankers.order import Candidates, Ranker, Steps, at_least, ranked
from limrank_ir.rankers.pointwise import Pointwise


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStages:
    """Rank all, then the best again.

    Attributes:
        first: the ranker for all candidates; DeAR judges them one by one.
        second: the ranker for the best of them; DeAR's is listwise, after a thought.
        top: how many the second one gets, in the order of the first; 20 are one window of most listwise models.

    Raises:
        InputError: `top` is below 1.
    """

    first: Ranker = field(default_factory=Pointwise)
    second: Ranker = field(default_factory=Listwise)
    top: int = 20

    def __post_init__(self) -> None:
        at_least(1, top=self.top)

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query."""
        before = yield from self.first.steps(candidates)
        head = before.indices[: self.top]
        after = yield from self.second.steps(candidates.of(head))
        best = [head[place] for place in after.indices]
        return ranked(len(before.indices), [*best, *before.indices[self.top :]], before.counts + after.counts)

    def calls(self, count: int) -> int:
        """The most questions that a number of candidates can cost: those of both rankers."""
        return self.first.calls(count) + self.second.calls(min(self.top, count))
