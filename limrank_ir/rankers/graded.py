"""Graded: each passage is graded alone, from the log-probabilities of all grades.

Three rules for the score:

- ``expected``: the expected grade (Zhuang et al., arXiv 2310.14122, "expected relevance values"), over the grades'
  probabilities alone. It is given as `limrank_ir.verdict.Verdict.of` gives it, as the logit of its share of the highest
  grade: the order is the same, and scores near both ends stay apart.
- ``tfrank``: the mean of the expected grade's share and P(true), which is another question (TFRank, `github
  JOHNNY-fans/TFRank: evaluation/tfrank_demo.py`, with grades from 0 to 4; there, both are read from one answer).
- ``erank``: the likeliest grade times its probability, ``s * Pr(token = s)`` (ERank, arXiv 2509.00520, section 3.2,
  with grades from 0 to 10, after a thought).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from limrank_ir.errors import InputError
from limrank_ir.rankers.labels import labels
from limrank_ir.rankers.lockstep import together
from limrank_ir.rankers.order import Candidates, Steps, at_least, scored, within
from limrank_ir.rankers.tally import Tally
from limrank_ir.verdict import Reading, Verdict

Rule = Literal["expected", "tfrank", "erank"]
HIGHEST = (4, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """Rank by grades.

    Attributes:
        highest: the highest grade, 4 or 10; the lowest is 0. The task is ``grade-4`` or ``grade-10``, and its labels
            are the grades from 0 up.
        rule: how grades become a score.
        depth: how many of the first candidates to grade; the others follow in their old order. None: all.

    Raises:
        InputError: the depth is below 0, or there are no such grades or no such rule.
    """

    highest: int = 4
    rule: Rule = "expected"
    depth: int | None = None

    def __post_init__(self) -> None:
        at_least(0, depth=self.depth)
        if self.highest not in HIGHEST or self.rule not in get_args(Rule):
            raise InputError(
                f"graded: highest is {self.highest!r} and rule is {self.rule!r}; choose 4 or 10, and "
                f"one of {', '.join(get_args(Rule))}"
            )

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query, in one batch."""
        count = len(candidates.texts)
        indices = range(within(self.depth, count))
        tally = Tally()
        tasks = {f"grade-{self.highest}": self.highest + 1} | ({"judge": 2} if self.rule == "tfrank" else {})
        read = yield from together(
            tally.ask([candidates.read(task, [index]) for index in indices], labels(number))
            for task, number in tasks.items()
        )
        found = {}
        for index, answers in zip(indices, zip(*read, strict=True), strict=True):
            usable = [answer for answer in answers if answer is not None]
            if len(usable) == len(tasks):
                found[index] = self._score(*usable)
        return scored(count, found, tally.counts)

    def calls(self, count: int) -> int:
        """The questions that a number of candidates costs: one each, or two with TFRank's rule."""
        return within(self.depth, count) * (2 if self.rule == "tfrank" else 1)

    def _score(self, grade: tuple[float, ...], truth: tuple[float, ...] | None = None) -> float:
        if self.rule == "erank":
            likeliest = max(range(len(grade)), key=lambda label: grade[label])
            return likeliest * math.exp(grade[likeliest])
        expected = Verdict.of(grade_reading(grade), range(self.highest + 1))
        if truth is None:
            return expected.log_odds
        return (expected.probability + Verdict.of(grade_reading(truth)).probability) / 2


def grade_reading(logprobs: tuple[float, ...]) -> Reading:
    """The log-probabilities of grades as a reading, from which `Verdict.of` expects a grade."""
    return Reading(logprobs=logprobs, reasoning=None, prompt_tokens=0, reasoning_tokens=0, finish="verdict")
