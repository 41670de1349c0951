"""What a ranker gets, the candidates of one query, and what it gives back, their order."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.rankers.asking import Answer, Attend, Question, Read, Write
from limrank_ir.ranking.partial import GAP

Mark = Literal["judged", "estimated", "placed"]
"""What a score is: the model's own; computed from the scores of others; or a number that only keeps the place."""

_NONE: Mapping[int, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of one query, best first as the first stage sees them.

    Attributes:
        query: the query.
        texts: the passages; some may be equal.
        scores: the first stage's scores, one for each passage, or None.
        vectors: the passages' vectors, one for each passage and all of one length, or None; for `Adaptive`.
        instruction: what counts as relevant, in the user's words.

    Raises:
        InputError: the texts are one string, or there are more or fewer scores or vectors than texts, or a score is not
            a finite number.
    """

    query: str
    texts: Sequence[str]
    scores: Sequence[float] | None = None
    vectors: Sequence[Sequence[float]] | None = None
    instruction: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.texts, str):
            raise InputError("the candidates are one string; give a list of passages")
        for name, values in (("scores", self.scores), ("vectors", self.vectors)):
            if values is not None and len(values) != len(self.texts):
                raise InputError(f"candidates: {len(values)} {name} for {len(self.texts)} passages; give one for each")
        for place, score in enumerate(() if self.scores is None else self.scores):
            if not math.isfinite(score):
                raise InputError(f"candidates: score {place} is {score}; remove passages without a finite score")

    def read(self, task: str, indices: Iterable[int]) -> Read:
        """The question that reads labels for some of the candidates, shown in the given order."""
        return Read(task, self.query, tuple(self.texts[index] for index in indices), self.instruction)

    def write(self, task: str, indices: Iterable[int], *, sample: int = 0) -> Write:
        """The question that lets the model write about some of the candidates, shown in the given order."""
        return Write(task, self.query, tuple(self.texts[index] for index in indices), self.instruction, sample)

    def attend(self, task: str, indices: Iterable[int]) -> Attend:
        """The question whose attention some of the candidates get, shown in the given order."""
        return Attend(task, self.query, tuple(self.texts[index] for index in indices), self.instruction)

    def of(self, indices: Sequence[int]) -> Candidates:
        """Some of the candidates in another order, as the input of another ranker.

        Their scores are left out: they belong to the first stage's order.
        """
        vectors = None if self.vectors is None else [self.vectors[index] for index in indices]
        return Candidates(self.query, [self.texts[index] for index in indices], None, vectors, self.instruction)


@dataclass(frozen=True, slots=True)
class Counts:
    """What an order has cost, and what was wrong with the answers.

    Attributes:
        questions: questions asked, also those whose answers were of no use.
        tokens: tokens read and written for them.
        repaired: answers that were repaired by a rule of `limrank_ir.rankers.parse`.
        repairs: what was repaired in them, each missing, repeated, or unknown identifier counted.
        failed: answers with nothing usable; what they were about kept its old order.
    """

    questions: int = 0
    tokens: int = 0
    repaired: int = 0
    repairs: int = 0
    failed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.questions + other.questions,
            self.tokens + other.tokens,
            self.repaired + other.repaired,
            self.repairs + other.repairs,
            self.failed + other.failed,
        )

    def remarks(self) -> list[str]:
        """What the user should know about the answers, in one sentence each."""
        remarks = []
        if self.failed:
            remarks.append(
                f"{self.failed} of {self.questions} answers had nothing usable; what they were about kept its old order"
            )
        if self.repaired:
            remarks.append(f"{self.repaired} of {self.questions} answers were repaired, in {self.repairs} places")
        return remarks


@dataclass(frozen=True, slots=True)
class Order:
    """A new order of the candidates.

    Attributes:
        indices: positions in the candidates, best first: each of them once.
        scores: a score for each of `indices`. They strictly decrease, so that evaluation tools, which sort by score and
            break ties by document id, see the same order: of equal scores, each is a `limrank_ir.ranking.partial.GAP`
            lower than the one before.
        marks: what each score is (`Mark`). Rankers that give an order alone mark all as placed, with the scores
            ``n, n - 1, ..., 1``.
        counts: questions, tokens, and faults.
    """

    indices: tuple[int, ...]
    scores: tuple[float, ...]
    marks: tuple[Mark, ...]
    counts: Counts = field(default_factory=Counts)


Steps: TypeAlias = Generator[Sequence[Question], Sequence[Answer], Order]
"""A ranker at work on one query: it yields questions, is sent their answers, in order, and returns the order."""


class Ranker(Protocol):
    """A way from candidates to an order."""

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query (see `limrank_ir.rankers.lockstep.lockstep`, which runs the steps)."""
        ...

    def calls(self, count: int) -> int:
        """The most questions that a number of candidates can cost."""
        ...


def ranked(count: int, best: Iterable[int], counts: Counts) -> Order:
    """An order without scores.

    Args:
        count: the number of candidates.
        best: candidates in their new order; those that are missing follow in their old one.
        counts: what it has cost.

    Returns:
        The order, with the scores ``count, count - 1, ..., 1``.

    Example:
        >>> ranked(4, [2, 0], Counts()).indices
        (2, 0, 1, 3)
    """
    indices = tuple(dict.fromkeys([*best, *range(count)]))
    marks: list[Mark] = ["placed"] * count
    return Order(indices, tuple(float(count - rank) for rank in range(count)), tuple(marks), counts)


def scored(count: int, judged: Mapping[int, float], counts: Counts, *, estimated: Mapping[int, float] = _NONE) -> Order:
    """An order by scores.

    Args:
        count: the number of candidates.
        judged: the scores that the model gave, by candidate.
        counts: what it has cost.
        estimated: scores of other candidates that were computed from the judged ones.

    Returns:
        The order: by score, of equal ones the judged first, then the old order. Candidates without a score follow in
        their old order, each 1 lower than the one before.

    Example:
        >>> scored(4, {1: 0.5, 2: 2.5}, Counts()).scores
        (2.5, 0.5, -0.5, -1.5)
    """
    if not judged and not estimated:
        return ranked(count, (), counts)
    values = {**estimated, **judged}
    indices = sorted(values, key=lambda index: (-values[index], index not in judged, index))
    scores: list[float] = []
    for index in indices:
        # The other bound is for scores so large that a gap is lost in them.
        highest = min(scores[-1] - GAP, math.nextafter(scores[-1], -math.inf)) if scores else math.inf
        scores.append(min(float(values[index]), highest))
    marks: list[Mark] = ["judged" if index in judged else "estimated" for index in indices]
    for index in range(count):
        if index not in values:
            indices.append(index)
            scores.append(min(scores[-1] - 1, math.nextafter(scores[-1], -math.inf)))
            marks.append("placed")
    return Order(tuple(indices), tuple(scores), tuple(marks), counts)


def within(depth: int | None, count: int) -> int:
    """How many of a number of candidates are ranked, where a depth of None means all."""
    return count if depth is None else min(depth, count)


def at_least(least: int, **options: int | None) -> None:
    """Check options that are numbers, where None means no limit.

    Raises:
        InputError: one is not a whole number, or is below `least`.
    """
    for name, value in options.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise InputError(f"{name} is {value!r}; give a whole number, at least {least}")
