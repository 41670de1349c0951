"""What comes back from a model: the verdict on a (query, passage) pair, and a ranked passage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from limrank_ir.errors import EngineError

Finish = Literal["verdict", "budget", "eos"]
"""How a verdict came about: the model gave it, its thought used up the budget, or its text ended without a verdict."""

Ending = Literal["stop", "budget", "eos"]
"""How a text ended: with a stop string, because the budget was used up, or because the model ended it."""


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
class Written:
    """What a model wrote after one prompt, greedily.

    Attributes:
        text: everything that it wrote, with the stop string if there is one, but without the token that ends a text.
        prompt_tokens: the length of the prompt in tokens.
        written_tokens: the number of generated tokens.
        finish: how it ended.
        cut_tokens: tokens cut from passages that were too long.
    """

    text: str
    prompt_tokens: int
    written_tokens: int
    finish: Ending
    cut_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Attended:
    """How much of a question's attention each passage of a prompt gets (`limrank_ir.engines.attending`).

    Attributes:
        scores: of each passage, in the order in which they are shown; higher is better.
        prompt_tokens: the number of tokens that were read: the passages once, and both questions.
        cut_tokens: tokens cut from passages that were too long.
        finish: says what kind of answer this is, where it is stored.
    """

    scores: tuple[float, ...]
    prompt_tokens: int
    cut_tokens: int = 0
    finish: Literal["attention"] = "attention"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A model's verdict on one (query, passage) pair.

    Attributes:
        log_odds: ``logprob(true) - logprob(false)`` at the label position, natural logarithm, float64. Rankings use
            this score because P(true) saturates after a chain of thought, and evaluation tools break the resulting
            ties by document id. Formats with one label or with grades have other scores (`Verdict.of`).
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
    def of(cls, reading: Reading, grades: Sequence[float] | None = None) -> Verdict:
        """The verdict that a reading gives.

        Args:
            reading: what the model says of the labels: of two, the positive one first; of one; or of grades.
            grades: the value of each label, from 0 up, if they are grades. Their verdict is the expected grade, as in
                Zhuang et al. (arXiv 2310.14122), divided by the highest one: `probability` is that share, and
                `log_odds` its logit, which orders passages in the same way and keeps them apart near 0 and 1.

        Returns:
            The verdict.

        Raises:
            EngineError: there is one label, and the engine does not know its raw logit.
        """
        return cls(
            log_odds=_log_odds(reading, grades),
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


def _log_odds(reading: Reading, grades: Sequence[float] | None) -> float:
    values = reading.logits if reading.logprobs is None else reading.logprobs
    if grades is None and values is not None and len(values) == 2:
        return values[0] - values[1]
    if grades is None:
        # A log-probability is the logit minus a number that differs from prompt to prompt: it could change the order.
        if reading.logits is None or len(reading.logits) != 1:
            raise EngineError("the engine gave no raw logit, which the score of a format with one label is")
        return reading.logits[0]
    if values is None or len(values) != len(grades):
        raise EngineError(f"the engine read {len(values or ())} labels; there are {len(grades)} grades")
    shares = [grade / max(grades) for grade in grades]
    return _log_sum(values, shares) - _log_sum(values, [1 - share for share in shares])


def _log_sum(logs: Sequence[float], weights: Sequence[float]) -> float:
    """log(sum(weight * exp(log))), without underflow."""
    terms = [(log, weight) for log, weight in zip(logs, weights, strict=True) if weight > 0]
    highest = max(log for log, _ in terms)
    return highest + math.log(math.fsum(weight * math.exp(log - highest) for log, weight in terms))


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
