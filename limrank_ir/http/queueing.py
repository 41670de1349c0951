"""A queue in front of the model: requests that wait together are judged together, and a full queue says so."""

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

UNKNOWN_WAIT = 5  # seconds, while no batch has shown how fast the model is


class Full(Exception):
    """The queue has no room.

    Attributes:
        retry_after: seconds until it should have, rounded up.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class _Left(Exception):
    """So many callers of a batch have gone that the others are served sooner by a batch of their own."""


@dataclass(eq=False)
class _Job:
    pairs: Sequence[Pair]
    done: asyncio.Future[list[Verdict]]
    verdicts: list[Verdict] = field(default_factory=list)
    taken: int = 0

    @property
    def waits(self) -> bool:
        """Whether its caller still waits for it. Read by the model's thread, too."""
        return not self.done.done()


_Part = tuple[_Job, Sequence[Pair]]


class Queue:
    """Judges pairs of many callers, first come, first served, in batches over several callers.

    A caller goes away when its task is cancelled: its pairs are dropped at once, and those that the model has before
    it at the end of the engine's current batch.

    All methods belong to one event loop; the model runs in a thread of its own, one batch at a time.
    """

    def __init__(
        self,
        limrank: LimRank,
        *,
        room: int,
        batch: int,
        judged: Callable[[int, float], None] = lambda pairs, seconds: None,
        dropped: Callable[[int], None] = lambda pairs: None,
    ) -> None:
        """Make a queue; `run` works it off.

        Args:
            limrank: the reranker.
            room: the most pairs that wait or are being judged. One request may be larger when nothing else waits.
            batch: the most pairs of one call of the model. A longer request is judged in several, so that it does
                not keep others waiting.
            judged: called with the pairs and the seconds of each batch.
            dropped: called with the pairs that a caller who has gone leaves behind.
        """
        self._limrank, self._room, self._batch, self._judged, self._dropped = limrank, room, batch, judged, dropped
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="limrank")
        self._closing = False
        self._speed = (0.0, 0.0)  # pairs and seconds, the latest batches above all
        self.pairs = 0
        """Pairs that wait or are being judged."""

    async def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Wait for verdicts.

        Args:
            pairs: pairs that `LimRank.judge` accepts.

        Returns:
            One verdict a pair, in order.

        Raises:
            Full: there is no room.
            InputError: the pairs cannot be judged.
            EngineError: the model, or the machine below it, failed.
        """
        if not pairs:
            return []
        if self.pairs and self.pairs + len(pairs) > self._room:
            raise Full(self._wait())
        job = _Job(pairs, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.pairs += len(pairs)
        self._arrived.set()
        try:
            return await job.done
        except asyncio.CancelledError:
            self._dropped(len(pairs) - len(job.verdicts))
            raise
        finally:
            self.pairs -= len(pairs)
            with suppress(ValueError):
                self._jobs.remove(job)

    async def run(self) -> None:
        """Work the queue off until `close`."""
        try:
            while True:
                await self._arrived.wait()
                if parts := self._next():
                    await self._work(parts)
                elif self._closing:
                    return
                else:
                    self._arrived.clear()
        finally:
            self._thread.shutdown(wait=False)

    def close(self) -> None:
        """Let `run` end when all that was taken is done."""
        self._closing = True
        self._arrived.set()

    def _wait(self) -> int:
        """Seconds until what is in the queue should be done."""
        pairs, seconds = self._speed
        return max(1, math.ceil(self.pairs * seconds / pairs)) if pairs else UNKNOWN_WAIT

    def _next(self) -> list[_Part]:
        """A batch: as many pairs of each waiting job, in turn, as there is room for."""
        parts: list[_Part] = []
        room = self._batch
        while self._jobs and room:
            job = self._jobs[0]
            if not job.waits:  # it failed in an earlier batch, or its caller has just gone
                self._jobs.popleft()
                continue
            part = job.pairs[job.taken : job.taken + room]
            parts.append((job, part))
            job.taken += len(part)
            room -= len(part)
            if job.taken == len(job.pairs):
                self._jobs.popleft()
        if parts and self._jobs and self._jobs[0] is parts[-1][0]:
            self._jobs.rotate(-1)  # the rest of a long request comes after those that waited behind it
        return parts

    async def _work(self, parts: list[_Part]) -> None:
        """Judge a batch. If that fails, judge each request alone: what is wrong with one is not the others' fault.

        The second request on which the model fails for no fault of the request shows that all would fail: the rest
        is not tried.
        """
        error = await self._attempt(parts)
        if error is None or len(parts) == 1:
            _fail(parts, error)
            return
        faults = 0
        for number, part in enumerate(parts, start=1):
            alone = await self._attempt([part])
            _fail([part], alone)
            faults += alone is not None and not isinstance(alone, InputError)
            if faults == 2:
                _fail(parts[number:], alone)
                return

    async def _attempt(self, parts: list[_Part]) -> Exception | None:
        """Judge pairs together and give those callers their verdicts who still wait; or return what went wrong."""
        loop = asyncio.get_running_loop()
        while parts := [(job, part) for job, part in parts if job.waits]:
            pairs = [pair for _, part in parts for pair in part]
            batch = _Batch(parts, len(pairs))
            judge = partial(self._limrank.judge, pairs, progress=batch.advance)
            started = time.perf_counter()
            try:
                verdicts = iter(await loop.run_in_executor(self._thread, judge))
            except _Left:
                self._measure(batch.done, time.perf_counter() - started)
                continue
            except Exception as error:
                return error
            self._measure(len(pairs), time.perf_counter() - started)
            for job, part in parts:
                job.verdicts.extend(next(verdicts) for _ in part)
                if len(job.verdicts) == len(job.pairs) and job.waits:
                    job.done.set_result(job.verdicts)
            break
        return None

    def _measure(self, pairs: int, seconds: float) -> None:
        before, took = self._speed
        self._speed = before / 2 + pairs, took / 2 + seconds
        self._judged(pairs, seconds)


@dataclass
class _Batch:
    """How far the model is with a batch."""

    parts: list[_Part]
    pairs: int
    done: int = 0

    def advance(self, count: int) -> None:
        """Take note of judged pairs, and end the batch if beginning again without those who left is less work.

        Called in the model's thread, between the engine's batches.
        """
        self.done += count
        wanted = sum(len(part) for job, part in self.parts if job.waits)
        if wanted < self.pairs - self.done:
            raise _Left


def _fail(parts: list[_Part], error: Exception | None) -> None:
    """Tell those who still wait what went wrong, if something did."""
    for job, _ in parts:
        if error is not None and job.waits:
            job.done.set_exception(error)
