"""A queue in front of the model: requests that wait together are judged together, and a full queue says so."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from limrank_ir.reranker import LimRank, Pair
from limrank_ir.verdict import Verdict


class Full(Exception):
    """The queue has no room.

    Attributes:
        retry_after: seconds until it should have, rounded up.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(eq=False)
class _Job:
    pairs: Sequence[Pair]
    done: asyncio.Future[list[Verdict]]
    verdicts: list[Verdict] = field(default_factory=list)
    taken: int = 0


class Queue:
    """Judges pairs of many callers, first come, first served, in batches over several callers.

    All methods belong to one event loop; the model runs in a thread of its own, one batch at a time.
    """

    def __init__(
        self, limrank: LimRank, *, room: int, batch: int, judged: Callable[[int, float], None] = lambda pairs, s: None
    ) -> None:
        """Make a queue; `run` works it off.

        Args:
            limrank: the reranker.
            room: the most pairs that wait or are being judged. One request may be larger when nothing else waits.
            batch: the most pairs of one call of the model. A longer request is judged in several, so that it does
                not keep others waiting.
            judged: called with the pairs and the seconds of each batch.
        """
        self._limrank, self._room, self._batch, self._judged = limrank, room, batch, judged
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._rate = 0.0  # pairs a second, of the last batch
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
            LimRankError: the model cannot be used.
        """
        if not pairs:
            return []
        if self.pairs and self.pairs + len(pairs) > self._room:
            raise Full(max(1, round(self.pairs / self._rate + 0.5)) if self._rate else 5)
        job = _Job(pairs, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.pairs += len(pairs)
        self._arrived.set()
        try:
            return await job.done
        finally:
            self.pairs -= len(pairs)

    async def run(self) -> None:
        """Work the queue off until `close`."""
        while True:
            await self._arrived.wait()
            parts = self._next()
            if parts:
                await self._work(parts)
            elif self._closing:
                return
            else:
                self._arrived.clear()

    def close(self) -> None:
        """Let `run` end when all that was taken is done."""
        self._closing = True
        self._arrived.set()

    def _next(self) -> list[tuple[_Job, Sequence[Pair]]]:
        """A batch: as many pairs of each waiting job, in turn, as there is room for."""
        parts: list[tuple[_Job, Sequence[Pair]]] = []
        room = self._batch
        while self._jobs and room:
            job = self._jobs[0]
            if job.done.done():  # its caller has gone
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

    async def _work(self, parts: list[tuple[_Job, Sequence[Pair]]]) -> None:
        pairs = [pair for _, part in parts for pair in part]
        started = time.perf_counter()
        try:
            verdicts = iter(await asyncio.to_thread(self._limrank.judge, pairs))
        except Exception as error:
            if len(parts) > 1:  # what is wrong with one request is not the others' fault
                for job_and_part in parts:
                    await self._work([job_and_part])
            elif not parts[0][0].done.done():
                parts[0][0].done.set_exception(error)
            return
        seconds = time.perf_counter() - started
        self._rate = len(pairs) / max(seconds, 1e-9)
        self._judged(len(pairs), seconds)
        for job, part in parts:
            job.verdicts.extend(next(verdicts) for _ in part)
            if len(job.verdicts) == len(job.pairs) and not job.done.done():
                job.done.set_result(job.verdicts)
