"""Running the rankers of many queries in lockstep, so that an engine gets all their questions in one batch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from limrank_ir.errors import EngineError, InputError
from limrank_ir.rankers.asking import Answer, Ask, Question
from limrank_ir.rankers.order import Order, Steps, at_least

T = TypeVar("T")
Part = Generator[Sequence[Question], Sequence[Answer], T]
"""A part of a ranker's work, with a result of any kind."""

EMPTY = 1000  # times that a ranker may ask nothing, one after the other, before it counts as stuck


def lockstep(runs: Iterable[Steps], ask: Ask, *, live: int = 64) -> Iterator[tuple[int, Order]]:
    """Rank many queries at once.

    Args:
        runs: a ranker's steps for each query. They are taken as there is room, so they can be a generator over any
            number of queries.
        ask: answers questions. It gets the pending questions of all live queries at once, in the order of the queries.
        live: how many queries are at work, and in memory, at once.

    Returns:
        (number of the query, order) of each query, as soon as it is done. Which queries share a batch changes neither
        the questions nor the order of any of them.

    Raises:
        InputError: `live` is below 1, or a ranker asks nothing, again and again.
        EngineError: `ask` gave more or fewer answers than it got questions.
    """
    at_least(1, live=live)
    return _lockstep(runs, ask, live)


def _lockstep(runs: Iterable[Steps], ask: Ask, live: int) -> Iterator[tuple[int, Order]]:
    waiting = enumerate(runs)
    active: dict[int, _Running[Order]] = {}
    try:
        while True:
            active |= {number: _Running(run) for number, run in islice(waiting, live - len(active))}
            if not active:
                return
            questions = _pending(active)
            if questions:  # or all of them had nothing to ask
                answers = ask(questions)
                if len(answers) != len(questions):
                    raise EngineError(f"{len(questions)} questions got {len(answers)} answers; each needs one")
                _deal(active, answers)
            for number in [number for number, running in active.items() if running.done]:
                yield number, active.pop(number).done[0]
    finally:
        for running in active.values():
            running.part.close()


def together(parts: Iterable[Part[T]]) -> Part[list[T]]:
    """Do parts of one query's work at once that do not depend on each other.

    Args:
        parts: the parts.

    Returns:
        Their results, in order.
    """
    running = {number: _Running(part) for number, part in enumerate(parts)}
    while questions := _pending(running):
        _deal(running, (yield questions))
    return [part.done[0] for part in running.values()]


class _Running(Generic[T]):
    """A part that has begun: the questions that it waits for, or its result, in a list of one."""

    def __init__(self, part: Part[T]) -> None:
        self.part = part
        self.pending: Sequence[Question] = ()
        self.done: list[T] = []
        self.go_on(None)

    def go_on(self, answers: Sequence[Answer] | None) -> None:
        try:
            self.pending = next(self.part) if answers is None else self.part.send(answers)
            for _ in range(EMPTY):
                if self.pending:
                    return
                self.pending = self.part.send(())  # nothing was asked, so nothing is awaited
        except StopIteration as stop:
            self.pending, self.done = (), [stop.value]
            return
        self.part.close()
        name = getattr(self.part, "__qualname__", repr(self.part))
        raise InputError(f"{name} asks no questions, {EMPTY} times in a row; a ranker that is done returns its order")


def _pending(running: Mapping[int, _Running[T]]) -> list[Question]:
    return [question for part in running.values() for question in part.pending]


def _deal(running: Mapping[int, _Running[T]], answers: Sequence[Answer]) -> None:
    at = 0
    for part in running.values():
        if part.pending:
            start, at = at, at + len(part.pending)
            part.go_on(answers[start:at])
