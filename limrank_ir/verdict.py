"""The values that flow back from a model: a verdict on one (query, passage) pair, and a ranked passage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Finish = Literal["verdict", "budget", "eos"]
"""How a verdict came about: the model gave it, the thought ran out of its budget, or it ended without one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model says of one (query, passage) pair.

    Attributes:
        log_odds: ``logprob(true) - logprob(false)`` at the label position, natural log, float64. Rankings use
            this: P(true) saturates after a chain of thought and makes ties, which evaluation
            tools then break by document id.
        reasoning: the thought between ``<think>`` and ``</think>``, or None when the model did not think.
        prompt_tokens: length of the prompt in tokens, a forced end of thought included.
        reasoning_tokens: tokens generated before the verdict.
        finish: ``"verdict"`` (the model said it, or was asked for it at once), ``"budget"`` (the thought was
            ended by its budget, the verdict forced), ``"eos"`` (it ended without a verdict, the verdict forced).
        cut_tokens: tokens cut from the end of an over-long passage; 0 when it was read whole.
    """

    log_odds: float
    reasoning: str | None
    prompt_tokens: int
    reasoning_tokens: int
    finish: Finish
    cut_tokens: int = 0

    @property
    def probability(self) -> float:
        """P(true) = 1 / (1 + exp(-log_odds)), in [0, 1], without overflow."""
        if self.log_odds >= 0:
            return 1.0 / (1.0 + math.exp(-self.log_odds))
        odds = math.exp(self.log_odds)
        return odds / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class Ranked:
    """One passage in the ranking of :meth:`limrank_ir.LimRank.rank`.

    Attributes:
        index: position of the passage in the list that was given.
        text: the passage as it was given.
        score: log-odds of *true* (see :class:`Verdict`), or the fused score (:func:`limrank_ir.fuse`).
        probability: P(true), in [0, 1]; of the model alone, also where scores are fused.
        reasoning: the model's thought, or None.
    """

    index: int
    text: str
    score: float
    probability: float
    reasoning: str | None
