"""Grades that stand at two places of an answer: what is read first, what is read then, and what both say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

LogProbs: TypeAlias = tuple[float, ...]
"""Log-probabilities of labels, in their order."""

NEGLIGIBLE = 1e-6  # a first label that is less likely than this is not followed


@dataclass(frozen=True, slots=True)
class TwoReads:
    """How a grade is read at two places.

    Attributes:
        first: the labels at the first place.
        second: the labels at the second place.
        between: the text from the first place to the second, given what was read first; None: it says enough.
        combine: the log-probabilities of the format's grades, from what was read at the first and the second place.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    between: Callable[[LogProbs], str | None]
    combine: Callable[[LogProbs, LogProbs | None], LogProbs]


def up_to_ten() -> TwoReads:
    """A number from 0 to 10 for tokenizers that split numbers into digits, such as Qwen's.

    "10" and "1" begin with the same token, so P(10) = P("1") P("0" after "1"), and P(1) is the rest of P("1").
    """

    def combine(first: LogProbs, second: LogProbs | None) -> LogProbs:
        zero = -math.inf if second is None else second[0]
        return (first[0], first[1] + _log(-math.expm1(zero)), *first[2:], first[1] + zero)

    def between(first: LogProbs) -> str | None:
        return "1" if math.exp(first[1]) > NEGLIGIBLE * math.fsum(map(math.exp, first)) else None

    return TwoReads(tuple("0123456789"), ("0",), between, combine)


def yes_no_grade() -> TwoReads:
    """TFRank's "yes(3)": the likelier answer, and a grade from 0 to 4 in parentheses behind it.

    Its score is the mean of P(yes) and of the expected grade divided by 4, each among its own labels. That is the
    expected grade of a distribution: half of it the grades', half of it 4 for yes and 0 for no.
    """

    def combine(first: LogProbs, second: LogProbs | None) -> LogProbs:
        assert second is not None
        answers, grades = _shares(first), _shares(second)
        halves = (answers[1], 0.0, 0.0, 0.0, answers[0])
        mass = _log(math.fsum(map(math.exp, first)))
        return tuple(mass + _log((grade + half) / 2) for grade, half in zip(grades, halves, strict=True))

    return TwoReads(("yes", "no"), tuple("01234"), lambda first: "yes(" if first[0] > first[1] else "no(", combine)


def _shares(logs: Sequence[float]) -> list[float]:
    highest = max(logs)
    weights = [math.exp(log - highest) for log in logs]
    return [weight / math.fsum(weights) for weight in weights]


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
