"""What comes back from a model: the verdict on a (query, passage) pair, and a ranked passage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Finish = Literal["verdict", "budget", "eos"]
"""How a verdict came about: the model gave it, its thought used up the budget, or its text ended without a verdict."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model says of one prompt, at the place where a label stands: what every engine returns.

    Attributes:
        logprobs: the log-probability of each label over the whole vocabulary, natural log, in the order of the labels;
            None if the engine knows the logits alone.
        reasoning: the thought between ``<think>`` and ``</think>``, or None if the model did not think.
        prompt_tokens: the length of the prompt in tokens, with a forced end of the thought.
        reasoning_tokens: the number of tokens generated before the label.
        finish: how the thought ended (see `Verdict.finish`).
        cut_tokens: tokens cut from the end of a passage that was too long.
        logits: the raw logit of each label, which the score of a format with one label is; None if the engine cannot
            know them, as behind most servers.
    """

    logprobs: tuple[float, ...] | None
    reasoning: str | None
    prompt_tokens: int
    reasoning_tokens: int
    finish: Finish
    cut_tokens: int = 0
    logits: tuple[float, ...] | None = None

    @property
    def mass(self) -> float | None:
        """The probability that the labels have together, or None if it is not known."""
        return None if self.logprobs is None else math.fsum(map(math.exp, self.logprobs))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A model's verdict on one (query, passage) pair.

    Attributes:
        log_odds: ``logprob(true) - logprob(false)`` at the label position, natural logarithm, float64. Rankings use
            this score because P(true) saturates after a chain of thought, and evaluation tools break the resulting
            ties by document id.
        reasoning: the thought between ``<think>`` and ``</think>``, or None if the model did not think.
        prompt_tokens: the length of the prompt in tokens, including a forced end of the thought.
        reasoning_tokens: the number of tokens generated before the verdict.
        finish: ``"verdict"`` (the model gave it, after a thought or at once), ``"budget"`` (the thought used up its
            budget, and the verdict was forced), or ``"eos"`` (the model stopped without a verdict, which was forced).
        cut_tokens: the number of tokens cut from the end of a long passage; 0 if it was read completely.
        label_mass: the probability of both labels together, in [0, 1]: near 0 if the model would rather say something
            else. None if an older version stored the verdict.
    """

    log_odds: float
    reasoning: str | None
    prompt_tokens: int
    reasoning_tokens: int
    finish: Finish
    cut_tokens: int = 0
    label_mass: float | None = None

    @classmethod
    def of(cls, reading: Reading) -> Verdict:
        """The verdict that a reading of two labels gives, the positive one first."""
        assert reading.logprobs is not None
        positive, negative = reading.logprobs
        return cls(
            log_odds=positive - negative,
            reasoning=reading.reasoning,
            prompt_tokens=reading.prompt_tokens,
            reasoning_tokens=reading.reasoning_tokens,
            finish=reading.finish,
            cut_tokens=reading.cut_tokens,
            label_mass=reading.mass,
        )

    @property
    def probability(self) -> float:
        """P(true) = 1 / (1 + exp(-log_odds)), in [0, 1], without overflow."""
        if self.log_odds >= 0:
            return 1.0 / (1.0 + math.exp(-self.log_odds))
        odds = math.exp(self.log_odds)
        return odds / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage in a ranking returned by `limrank_ir.LimRank.rank`.

    Attributes:
        index: the passage's position in the input list.
        text: the passage, as it was passed in.
        score: the log-odds of *true* (see `Verdict`), or the fused score (`limrank_ir.fuse`).
        probability: P(true) in [0, 1], from the model alone even if scores are fused.
        reasoning: the model's thought, or None.
    """

    index: int
    text: str
    score: float
    probability: float
    reasoning: str | None
