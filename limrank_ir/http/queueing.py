"""A queue in front of the model: waiting requests are judged together, and a full queue rejects new ones."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from limrank_ir.errors import InputError
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


@dataclass(eq=False)
class _Job:
    pairs: Sequence[Pair]
    done: asyncio.Future[list[Verdict]]
    verdicts: list[Verdict] = field(default_factory=list)
    batched: int = 0
    """How many of the pairs have been put into batches."""

    @property
    def waiting(self) -> bool:
        """Whether the caller is still waiting. The model's thread reads this, too."""
        return not self.done.done()


_Part = tuple[_Job, Sequence[Pair]]


class Queue:
    """Judges the pairs of many callers, first come, first served, in batches that span callers.

    A caller leaves when its task is cancelled. Its waiting pairs are dropped at once; those that the model is working
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
        on_dropped: Callable[[int], None] = lambda pairs: None,
    ) -> None:
        """Create a queue; `run` processes it.

        Args:
            limrank: the reranker.
            capacity: the maximum number of pairs that wait or are being judged. A request may be larger if nothing else
                is waiting.
            batch: the maximum number of pairs per call of the model. A longer request is judged in parts, so that it
                does not keep others waiting.
            on_judged: called with the pairs and the seconds of each batch.
            on_dropped: called with the number of pairs of a caller that left before they were judged.
        """
        self._limrank = limrank
        self._capacity = capacity
        self._batch = batch
        self._on_judged = on_judged
        self._on_dropped = on_dropped
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="limrank")
        self._closing = False
        self._speed = (0.0, 0.0)  # pairs and seconds; recent batches weigh most
        self.pairs = 0
        """The number of pairs waiting or being judged."""

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
        if not pairs:
            return []
        if self.pairs and self.pairs + len(pairs) > self._capacity:
            raise Full(self._estimated_wait())
        job = _Job(pairs, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.pairs += len(pairs)
        self._arrived.set()
        try:
            return await job.done
        except asyncio.CancelledError:
            self._on_dropped(len(pairs) - len(job.verdicts))
            raise
        finally:
            self.pairs -= len(pairs)
            with suppress(ValueError):
                self._jobs.remove(job)

    async def run(self) -> None:
        """Process the queue until `close`."""
        try:
            while True:
                await self._arrived.wait()
                if parts := self._next_batch():
                    await self._judge_batch(parts)
                elif self._closing:
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
        pairs, seconds = self._speed
        return max(1, math.ceil(self.pairs * seconds / pairs)) if pairs else UNKNOWN_WAIT

    def _next_batch(self) -> list[_Part]:
        """A batch: as many pairs of each waiting job, in turn, as fit."""
        parts: list[_Part] = []
        room = self._batch
        while self._jobs and room:
            job = self._jobs[0]
            if not job.waiting:  # it failed in an earlier batch, or its caller has just left
                self._jobs.popleft()
                continue
            part = job.pairs[job.batched : job.batched + room]
            parts.append((job, part))
            job.batched += len(part)
            room -= len(part)
            if job.batched == len(job.pairs):
                self._jobs.popleft()
        if parts and self._jobs and self._jobs[0] is parts[-1][0]:
            self._jobs.rotate(-1)  # the rest of a long request goes behind those that were waiting
        return parts

    async def _judge_batch(self, parts: list[_Part]) -> None:
        """Judge a batch. If that fails, judge each request alone, so that a bad request affects no other.

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
        """Judge parts together and give waiting callers their verdicts; return the error if judging failed."""
        loop = asyncio.get_running_loop()
        while parts := [(job, part) for job, part in parts if job.waiting]:
            pairs = [pair for _, part in parts for pair in part]
            batch = _Batch(parts, len(pairs))
            judge = partial(self._limrank.judge, pairs, progress=batch.advance)
            started = time.perf_counter()
            try:
                verdicts = await loop.run_in_executor(self._thread, judge)
            except _BatchAbandoned:
                self._measure(batch.done, time.perf_counter() - started)
                continue
            except Exception as error:
                return error
            self._measure(len(pairs), time.perf_counter() - started)
            _deliver(parts, verdicts)
            return None
        return None

    def _measure(self, pairs: int, seconds: float) -> None:
        earlier_pairs, earlier_seconds = self._speed
        self._speed = earlier_pairs / 2 + pairs, earlier_seconds / 2 + seconds
        self._on_judged(pairs, seconds)


@dataclass
class _Batch:
    """The progress of the model in a batch."""

    parts: list[_Part]
    pairs: int
    done: int = 0

    def advance(self, count: int) -> None:
        """Count judged pairs, and abandon the batch if starting over without the callers that left is less work.

        Called in the model's thread, between the engine's batches.
        """
        self.done += count
        wanted = sum(len(part) for job, part in self.parts if job.waiting)
        if wanted < self.pairs - self.done:
            raise _BatchAbandoned


def _deliver(parts: list[_Part], verdicts: Sequence[Verdict]) -> None:
    """Hand out the verdicts, and finish the jobs that have all of theirs."""
    stream = iter(verdicts)
    for job, part in parts:
        job.verdicts.extend(next(stream) for _ in part)
        if len(job.verdicts) == len(job.pairs) and job.waiting:
            job.done.set_result(job.verdicts)


def _fail(parts: list[_Part], error: Exception) -> None:
    """Give waiting callers an error."""
    for job, _ in parts:
        if job.waiting:
            job.done.set_exception(error)
