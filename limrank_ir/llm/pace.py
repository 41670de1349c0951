"""How many requests a server gets at once: a fixed number, or as many as it answers without complaint."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

START, MOST = 8, 256
"""With ``"auto"``: the number of concurrent requests at first, and at most."""

_GAIN = 1.2  # doubling the concurrency must make a server that much faster, or it is not doubled again
_LONGEST = 60.0  # seconds to wait at most before trying a server again
_TRANSIT = 0.25  # seconds that a request may take to its server
_PATIENCE = 0.25  # the share of the timeout from which answers count as slow
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")  # OpenAI's: 6m0s, 1.5s, 20ms


class Turn(NamedTuple):
    """A request that may be sent: its number, counted from 1, and when it was admitted (`time.monotonic`)."""

    number: int
    sent: float


class Quota(NamedTuple):
    """How many more requests a server takes, the seconds until it takes all again, and how many are all."""

    left: int
    reset: float
    total: int


class Pace:
    """Decides when the next request may be sent.

    With ``"auto"``, the concurrency starts at 8. While requests wait, it doubles as long as that makes the server at
    least 1.2 times as fast, and then grows by one per round. It shrinks when the server sets a rate limit (429). In any
    case, no request is sent before the time in Retry-After, and no more than the rate-limit headers of OpenAI and
    Anthropic leave.

    Attributes:
        limit: the maximum number of concurrent requests now.
        active: the number of requests in flight.
    """

    def __init__(self, concurrency: int | Literal["auto"], timeout: float) -> None:
        """Start.

        Args:
            concurrency: the maximum number of concurrent requests, or ``"auto"``.
            timeout: seconds after which a request is given up; answers that take a quarter of it end the growth by one.
        """
        self._adapts = concurrency == "auto"
        self.limit = START if concurrency == "auto" else concurrency
        self.active = 0
        self._patience = _PATIENCE * timeout
        self._queue: deque[asyncio.Future[Turn]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._admitted = 0
        self._opens = 0.0  # no request before this time
        self._told = self._last = 0  # the newest request whose headers count, and the last one that they allow
        self._quota = Quota(0, 0.0, MOST)
        self._renewed = 0.0  # when they allow more
        self._complaints = 0  # rounds with a rate limit since the last answer
        self._doubling = True
        self._speed = 0.0  # of the previous round, in tokens per second
        self._begin_round()

    async def enter(self, *, first: bool = False) -> Turn:
        """Wait for a turn. `leave` ends it.

        Args:
            first: go before those who wait.
        """
        turn: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        if first:
            self._queue.appendleft(turn)
        else:
            self._queue.append(turn)
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # admitted at the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """End a turn."""
        self.active -= 1
        self._admit()

    async def again(self) -> Turn:
        """Give up a turn, and wait for the next one, before all others. On cancellation, the turn is not given up."""
        self.active -= 1
        try:
            return await self.enter(first=True)
        except asyncio.CancelledError:
            self.active += 1
            raise

    def answered(self, turn: Turn, tokens: int, headers: Mapping[str, str]) -> None:
        """Note an answer.

        Args:
            turn: the turn of its request.
            tokens: of the answer; 0 if unknown.
            headers: of the response, with names in lower case.
        """
        self._hear(turn, headers)
        self._complaints = 0
        if not self._adapts or turn.sent < self._since:
            return
        self._answers += 1
        self._seconds += time.monotonic() - turn.sent
        self._tokens += tokens or 1
        if self._answers >= max(START, self.limit // 2):
            self._end_round()

    def limited(self, turn: Turn, headers: Mapping[str, str]) -> None:
        """Note a rate limit.

        Args:
            turn: the turn of the request.
            headers: of the response, with names in lower case.
        """
        self._hear(turn, headers)
        pause = retry_after(headers)
        if pause is None:
            pause = 0.5 * 2 ** min(self._complaints, 10)
        self._opens = max(self._opens, time.monotonic() + min(pause, _LONGEST))
        if turn.sent < self._since:  # sent before the last change, which it is too late to prevent
            return
        self._complaints += 1
        if self._adapts:
            # Doubling overshoots by up to two. Growing by one does not, and halving would waste a quarter of the limit.
            self.limit = max(1, self.limit // 2 if self._doubling else self.limit * 3 // 4)
            self._doubling = False
        self._begin_round()

    def _hear(self, turn: Turn, headers: Mapping[str, str]) -> None:
        quota = remaining(headers)
        if quota is not None and turn.number > self._told:
            self._quota, self._told, self._last = quota, turn.number, turn.number + quota.left
            # Servers count a request when it arrives, and that is when the time until the renewal begins.
            self._renewed = min(turn.sent + _TRANSIT + quota.reset, time.monotonic() + _LONGEST)

    def _opening(self) -> float:
        """When the next request may be sent, as far as the server's limits go."""
        if not self._told or self._admitted < self._last:
            return self._opens
        if (now := time.monotonic()) >= self._renewed:
            self._last = self._admitted + self._quota.total
            self._renewed = now + min(self._quota.reset, _LONGEST)
            return self._opens
        return max(self._opens, self._renewed)

    def _admit(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._queue and self.active < self.limit:
            if (wait := self._opening() - time.monotonic()) > 0:
                self._alarm = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            turn = self._queue.popleft()
            if not turn.done():
                self.active += 1
                self._admitted += 1
                turn.set_result(Turn(self._admitted, time.monotonic()))

    def _begin_round(self) -> None:
        self._since = time.monotonic()
        self._answers, self._seconds, self._tokens = 0, 0.0, 0

    def _end_round(self) -> None:
        if self._queue:  # otherwise the concurrency is not used up, and growth would mean nothing
            # Per token, so that a stage with longer answers does not look like a slower server.
            speed = self.limit * self._tokens / max(self._seconds, 1e-9)
            if self._doubling and speed < _GAIN * self._speed:
                self._doubling = False
            self._speed = speed
            if self._doubling:
                self.limit = min(MOST, 2 * self.limit)
            elif self._seconds / self._answers < self._patience:
                self.limit = min(MOST, self.limit + 1)
        self._begin_round()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds to wait by ``retry-after-ms`` or by ``retry-after``, which is a number or a date; or None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (number := _number(headers.get(name, ""))) is not None:
            return number * unit
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def remaining(headers: Mapping[str, str]) -> Quota | None:
    """How many more requests a server takes; None: it does not say.

    The headers are those of OpenAI (https://platform.openai.com/docs/guides/rate-limits) and Anthropic
    (https://docs.anthropic.com/en/api/rate-limits).
    """
    for name in ("x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"):
        left = _number(headers.get(name.format("remaining"), ""))
        reset = _seconds(headers.get(name.format("reset"), ""))
        total = _number(headers.get(name.format("limit"), ""))
        if left is not None and reset is not None:
            return Quota(int(left), reset, max(1, int(total or left or MOST)))
    return None


def _seconds(text: str) -> float | None:
    """The seconds in a time span (``6m0s``), a number, or from now to a date in ISO 8601."""
    if (number := _number(text)) is not None:
        return number
    if _SPAN.fullmatch(text):
        return sum(float(count) * _UNITS[unit] for count, unit in re.findall(r"([\d.]+)(ms|s|m|h|d)", text))
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - time.time())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
