"""Asking within a ranker, with everything counted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from limrank_ir.rankers.asking import Answer, Question
from limrank_ir.rankers.order import Counts

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """What an answer says.

    Attributes:
        value: what was found.
        repairs: how many things had to be repaired for it.
    """

    value: T
    repairs: int = 0


Parse = Callable[[Answer, int], Parsed[T] | None]
"""Reads an answer about a number of passages; None if nothing in it is usable."""


class Tally:
    """Asks, parses, and counts, for one query.

    Attributes:
        counts: what has been asked so far, and what was wrong with it.
    """

    def __init__(self) -> None:
        self.counts = Counts()

    def ask(
        self, questions: Sequence[Question], parse: Parse[T]
    ) -> Generator[Sequence[Question], Sequence[Answer], list[T | None]]:
        """Ask questions at once.

        Args:
            questions: the questions; without any, nobody is asked.
            parse: reads an answer.

        Returns:
            What the answers say, in order; None for those with nothing usable.
        """
        if not questions:
            return []
        answers = yield questions
        found: list[T | None] = []
        for question, answer in zip(questions, answers, strict=True):
            parsed = parse(answer, len(question.passages))
            repairs = parsed.repairs if parsed else 0
            self.counts += Counts(1, answer.tokens, int(repairs > 0), repairs, int(parsed is None))
            found.append(parsed.value if parsed else None)
        return found
