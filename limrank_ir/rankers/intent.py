"""Intent: what answers a query and what is background for its answer are told apart, and weighed by what it needs.

A passage that one has to know for the answer is what reasoning-intensive collections call relevant (BRIGHT, arXiv
2407.12883), and what question answering does not. One read of a passage has three labels: it answers, it is background,
it does not help. Another one, of the query alone, says which of the first two the query needs. The score is the
expected grade with 1 for an answer and, for background, the weight::

    weight = sigmoid(bias + slope * (logprob(background) - logprob(answer)))

so that ``slope=0`` is one weight for all queries. This answers a question that the paper of LimRank leaves open (arXiv
2510.23544, Limitations); docs/rankers.md has what we measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from limrank_ir.errors import InputError
from limrank_ir.rankers.asking import Read
from limrank_ir.rankers.graded import grade_reading
from limrank_ir.rankers.labels import labels
from limrank_ir.rankers.lockstep import together
from limrank_ir.rankers.order import Candidates, Steps, at_least, scored, within
from limrank_ir.rankers.tally import Tally
from limrank_ir.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Rank by how much passages answer a query, or help with the answer, as the query needs.

    Attributes:
        bias: the log-odds of the weight of background for a query whose need is undecided.
        slope: how much the query's need counts; 0: not at all, and it is not asked for.
        depth: how many of the first candidates to judge; the others follow in their old order. None: all.

    Raises:
        InputError: the depth is below 0, or another option is not a finite number.
    """

    bias: float = 0.0
    slope: float = 1.0
    depth: int | None = None

    def __post_init__(self) -> None:
        at_least(0, depth=self.depth)
        if not (math.isfinite(self.bias) and math.isfinite(self.slope)):
            raise InputError(f"intent: bias is {self.bias} and slope is {self.slope}; give finite numbers")

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query, in one batch."""
        count = len(candidates.texts)
        indices = range(within(self.depth, count))
        tally = Tally()
        need = [Read("need", candidates.query, ("",), candidates.instruction)] if self.slope and indices else []
        needs, helps = yield from together(
            tally.ask(questions, labels(number))
            for questions, number in ((need, 2), ([candidates.read("help", [index]) for index in indices], 3))
        )
        weight = self._weight(*(logprobs for logprobs in needs if logprobs is not None))
        found = {
            index: Verdict.of(grade_reading(logprobs), (0, weight, 1)).log_odds
            for index, logprobs in zip(indices, helps, strict=True)
            if logprobs is not None
        }
        return scored(count, found, tally.counts)

    def calls(self, count: int) -> int:
        """The questions that a number of candidates costs: one each, and one about the query."""
        judged = within(self.depth, count)
        return judged + (self.slope != 0 and judged > 0)

    def _weight(self, *needs: tuple[float, ...]) -> float:
        """The weight of background, from the reading of the query if there is one that is of use."""
        odds = self.bias + sum(self.slope * (background - answer) for answer, background in needs)
        return (1 + math.tanh(odds / 2)) / 2
