"""A queue in front of the model: waiting requests are judged together, and a full queue rejects new ones."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.http.remarking import Remarking
from limrank_ir.rankers.asking import Answer, Question
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.order import Candidates, Order, Ranker, Steps
from limrank_ir.reranker import LimRank, Pair
from limrank_ir.verdict import Verdict

UNKNOWN_WAIT = 5  # seconds to wait while no batch has shown how fast the model is


class Full(Exception):
    """The queue has no room.

    Attributes:
        retry_after: estimated seconds until it has room, rounded up.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class _BatchAbandoned(Exception):
    """So many callers of a batch have left that a new batch serves the others sooner."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What the model does with items. Items of equal works can share a batch.

    Attributes:
        run: `LimRank.judge` for pairs, or a `Remarking` for the questions of rankers.
        on_done: called with the items and the seconds of each batch.
    """

    run: Callable[..., Sequence[Any]]
    on_done: Callable[[int, float], None]


@dataclass(eq=False)
class _Job:
    work: _Work
    items: Sequence[Any]
    done: asyncio.Future[list[Any]]
    answers: list[Any] = field(default_factory=list)
    batched: int = 0
    """How many of the items have been put into batches."""

    @property
    def waiting(self) -> bool:
        """Whether the caller is still waiting. The model's thread reads this, too."""
        return not self.done.done()

    def take(self, room: int, *, alone: bool) -> Sequence[Any]:
        """The next items that show at most `room` passages; if they are `alone` in their batch, at least one item."""
        start = end = self.batched
        while end < len(self.items):
            room -= _passages(self.items[end])
            if room < 0 and not (alone and end == start):
                break
            end += 1
        self.batched = end
        return self.items[start:end]


_Part = tuple[_Job, Sequence[Any]]


class Queue:
    """Judges the pairs and asks the questions of many callers, first come, first served, in batches that span callers.

    A caller leaves when its task is cancelled. Its waiting items are dropped at once; those that the model is working
    on are dropped at the end of the engine's current batch.

    All methods belong to one event loop. The model runs in its own thread, one batch at a time.
    """

    def __init__(
        self,
        limrank: LimRank,
        *,
        capacity: int,
        batch: int,
        on_judged: Callable[[int, float], None] = lambda pairs, seconds: None,
        on_asked: Callable[[int, float], None] = lambda questions, seconds: None,
        on_dropped: Callable[[int], None] = lambda items: None,
    ) -> None:
        """Create a queue; `run` processes it.

        Args:
            limrank: the reranker.
            capacity: the maximum number of pairs in accepted requests, and of questions that their rankers may ask. A
                request may be larger if it is alone.
            batch: the maximum number of passages per call of the model: a pair has one, and a question those that it
                shows. A longer request is processed in parts, so that it does not keep others waiting.
            on_judged: called with the pairs and the seconds of each batch of pairs.
            on_asked: called with the questions and the seconds of each batch of questions.
            on_dropped: called with the number of items of a caller that left before they were answered.
        """
        self._judging = _Work(limrank.judge, on_judged)
        self._capacity = capacity
        self._batch = batch
        self._on_asked = on_asked
        self._on_dropped = on_dropped
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="limrank")
        self._closing = False
        self._speed = (0.0, 0.0)  # items and seconds; recent batches weigh most
        self.pairs = 0
        """How much room is taken: the pairs of accepted requests, and the most questions that their rankers may ask.

        Each request counts in full until it ends, although a part of it is done, or is never asked.
        """

    async def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Wait for verdicts.

        Args:
            pairs: pairs that `LimRank.judge` accepts.

        Returns:
            One verdict per pair, in order.

        Raises:
            Full: the queue has no room.
            InputError: the pairs cannot be judged.
            EngineError: the model or the machine failed.
        """
        with self._room(len(pairs)):
            return await self._answers(self._judging, pairs)

    async def rank(self, ranker: Ranker, ask: EngineAsk, candidates: Candidates) -> Order:
        """Wait for a ranker's order. Room for all questions is taken at the start, so that no later round is refused.

        Args:
            ranker: the ranker.
            ask: answers its questions. Callers that share one share batches.
            candidates: the candidates of one query.

        Returns:
            The order.

        Raises:
            Full: the queue has no room.
            InputError: the questions cannot be asked.
            EngineError: the model or the machine failed.
        """
        steps, work = ranker.steps(candidates), _Work(Remarking(ask), self._on_asked)
        with self._room(ranker.calls(len(candidates.texts))):
            # In threads: a ranker's own work on a thousand candidates takes a while.
            step = await asyncio.to_thread(_go_on, steps, None)
            while not isinstance(step, Order):
                step = await asyncio.to_thread(_go_on, steps, await self._answers(work, step))
            return step

    @contextmanager
    def _room(self, items: int) -> Iterator[None]:
        """Take room in the queue."""
        if items and self.pairs and self.pairs + items > self._capacity:
            raise Full(self._estimated_wait())
        self.pairs += items
        try:
            yield
        finally:
            self.pairs -= items
            self._arrived.set()  # `run` ends with the last request

    async def _answers(self, work: _Work, items: Sequence[Any]) -> list[Any]:
        """Wait for the answers to items for which room was taken."""
        if not items:
            return []
        job = _Job(work, items, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrived.set()
        try:
            return await job.done
        except asyncio.CancelledError:
            self._on_dropped(len(items) - len(job.answers))
            raise
        finally:
            with suppress(ValueError):
                self._jobs.remove(job)

    async def run(self) -> None:
        """Process the queue until `close`."""
        try:
            while True:
                await self._arrived.wait()
                if parts := self._next_batch():
                    await self._process(parts)
                elif self._closing and not self.pairs:
                    return
                else:
                    self._arrived.clear()
        finally:
            self._thread.shutdown(wait=False)

    def close(self) -> None:
        """Let `run` end once all accepted requests are done."""
        self._closing = True
        self._arrived.set()

    def _estimated_wait(self) -> int:
        """Estimated seconds until the current queue is done."""
        items, seconds = self._speed
        return max(1, math.ceil(self.pairs * seconds / items)) if items else UNKNOWN_WAIT

    def _next_batch(self) -> list[_Part]:
        """A batch: as many items of each waiting job, in turn, as fit. All of them are for the same work."""
        parts: list[_Part] = []
        untouched: deque[_Job] = deque()
        begun: deque[_Job] = deque()
        room = self._batch
        for job in self._jobs:
            if not job.waiting:  # it failed in an earlier batch, or its caller has just left
                continue
            part: Sequence[Any] = ()
            if not parts or job.work == parts[0][0].work:
                part = job.take(room, alone=not parts)
            if part:
                parts.append((job, part))
                room -= sum(map(_passages, part))
            if job.batched < len(job.items):
                (begun if part else untouched).append(job)
        self._jobs = untouched + begun  # the rest of a long request goes behind those that were waiting
        return parts

    async def _process(self, parts: list[_Part]) -> None:
        """Process a batch. If that fails, process each request alone, so that a bad request affects no other.

        If the model fails on two requests through no fault of theirs, it would fail on all: the rest is not tried.
        """
        error = await self._attempt(parts)
        if error is None:
            return
        if len(parts) == 1:
            _fail(parts, error)
            return
        engine_failures = 0
        for number, part in enumerate(parts, start=1):
            error = await self._attempt([part])
            if error is None:
                continue
            _fail([part], error)
            if not isinstance(error, InputError):
                engine_failures += 1
            if engine_failures == 2:
                _fail(parts[number:], error)
                return

    async def _attempt(self, parts: list[_Part]) -> Exception | None:
        """Process parts together and give waiting callers their answers; return the error if that failed."""
        loop = asyncio.get_running_loop()
        while parts := [(job, part) for job, part in parts if job.waiting]:
            work = parts[0][0].work
            items = [item for _, part in parts for item in part]
            batch = _Batch(parts, len(items))
            started = time.perf_counter()
            try:
                answers = await loop.run_in_executor(self._thread, partial(work.run, items, progress=batch.advance))
            except _BatchAbandoned:
                self._measure(work, batch.done, time.perf_counter() - started)
                continue
            except Exception as error:
                return error
            self._measure(work, len(items), time.perf_counter() - started)
            _deliver(parts, answers)
            return None
        return None

    def _measure(self, work: _Work, items: int, seconds: float) -> None:
        earlier_items, earlier_seconds = self._speed
        self._speed = earlier_items / 2 + items, earlier_seconds / 2 + seconds
        work.on_done(items, seconds)


@dataclass
class _Batch:
    """The progress of the model in a batch."""

    parts: list[_Part]
    items: int
    done: int = 0

    def advance(self, count: int) -> None:
        """Count answered items, and abandon the batch if starting over without the callers that left is less work.

        Called in the model's thread, between the engine's batches.
        """
        self.done += count
        wanted = sum(len(part) for job, part in self.parts if job.waiting)
        if wanted < self.items - self.done:
            raise _BatchAbandoned


def _passages(item: Any) -> int:
    """How many passages an item shows to the model."""
    return max(1, len(getattr(item, "passages", ())))  # a pair has one


def _go_on(steps: Steps, answers: Sequence[Answer] | None) -> Sequence[Question] | Order:
    """The next questions of a ranker, or its order."""
    try:
        return next(steps) if answers is None else steps.send(answers)
    except StopIteration as stop:
        order: Order = stop.value
        return order


def _deliver(parts: list[_Part], answers: Sequence[Any]) -> None:
    """Hand out the answers, and finish the jobs that have all of theirs."""
    stream = iter(answers)
    for job, part in parts:
        job.answers.extend(next(stream) for _ in part)
        if len(job.answers) == len(job.items) and job.waiting:
            job.done.set_result(job.answers)


def _fail(parts: list[_Part], error: Exception) -> None:
    """Give waiting callers an error."""
    for job, _ in parts:
        if job.waiting:
            job.done.set_exception(error)
