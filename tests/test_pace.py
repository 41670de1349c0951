"""The pace of requests, against a server on loopback with the limits of real ones: nothing is lost or asked twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from limrank_ir import EngineError
from limrank_ir.llm.chat import Chat, Server
from limrank_ir.llm.pace import MOST, Pace, remaining, retry_after
from tests.chat_server import said


class Limits:
    """A server's limits, and what it has seen.

    Attributes:
        slots: requests that it answers at once; more get 429.
        workers: requests that it works on at once; more wait.
        quota: requests per `period` seconds; more get 429 until the next period.
        delay: seconds per answer.
    """

    def __init__(self, *, slots=10**6, workers=10**6, quota=10**6, period=1.0, delay=0.05, retry=True, headers=False):
        self.slots, self.quota, self.period, self.delay = slots, quota, period, delay
        self.retry, self.headers = retry, headers
        self.active = self.peak = self.refused = self.used = 0
        self.answered = Counter()
        self.began = 0.0
        self.work = asyncio.Semaphore(workers)

    async def serve(self, body):
        """Status, headers, and answer."""
        now = time.monotonic()
        if now >= self.began + self.period:
            self.began, self.used = now, 0
        self.used += 1
        left = max(0, self.quota - self.used)
        told = {"remaining": left, "reset": f"{self._rest(now):.0f}ms", "limit": self.quota}
        told = {f"x-ratelimit-{name}-requests": value for name, value in told.items()} if self.headers else {}
        if self.active >= self.slots or self.used > self.quota:
            self.refused += 1
            wait = {"retry-after-ms": 20 if self.used <= self.quota else f"{self._rest(now):.0f}"} if self.retry else {}
            return 429, {**told, **wait}, {"error": {"message": "too many"}}
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            async with self.work:
                await asyncio.sleep(self.delay)
        finally:
            self.active -= 1
        self.answered[body["seed"]] += 1
        return 200, told, said("hi")

    def _rest(self, now):
        """Milliseconds until the quota is renewed."""
        return 1000 * max(0.0, self.began + self.period - now) + 1


@asynccontextmanager
async def serving(limits):
    """Run a server with limits, and yield its URL. Leave it when the client is closed."""
    connections = set()

    async def connected(reader, writer):
        connections.add(asyncio.current_task())
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
                status, headers, answer = await limits.serve(json.loads(await reader.readexactly(int(length[15:]))))
                data = json.dumps(answer).encode()
                lines = [f"HTTP/1.1 {status} OK", "content-type: application/json", f"content-length: {len(data)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=512)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        await asyncio.gather(*connections, return_exceptions=True)


def ask(count, *, concurrency="auto", **limits):
    """Send so many requests, all at once as far as the pace allows; return the server and the pace."""

    async def main():
        server = Limits(**limits)
        async with serving(server) as url, Chat(Server(url, concurrency=concurrency)) as chat:  # the chat ends first
            bodies = [{"model": "m", "messages": [], "seed": number} for number in range(count)]
            answers = await asyncio.gather(*map(chat.complete, bodies))
            assert len(answers) == count
            return server, chat.pace

    server, pace = asyncio.run(main())
    assert server.answered == Counter(range(count))  # nothing is lost, and nothing is answered twice
    assert pace.active == 0
    return server, pace


def test_a_server_without_limits_gets_more_and_more():
    server, pace = ask(120, delay=0.2)
    assert 32 <= server.peak <= pace.limit <= MOST and server.refused == 0


def test_a_server_with_a_limit_is_used_up_to_it_with_few_refusals():
    server, _ = ask(250, slots=20, delay=0.1)
    assert server.peak == 20 and server.refused <= 40


def test_a_server_that_gets_no_faster_is_not_flooded():
    server, _ = ask(120, workers=2, delay=0.01)
    assert server.peak <= 40 and server.refused == 0  # the first round is slow in itself: it connects


@pytest.mark.parametrize("headers", [True, False])
def test_a_quota_is_used_up_and_then_waited_for(headers):
    started = time.monotonic()
    server, _ = ask(70, quota=30, period=0.8, delay=0.02, headers=headers)
    assert time.monotonic() - started > 1.6  # 30, 30, and 10
    assert server.refused <= (5 if headers else 60)


def test_a_number_stays_a_number():
    server, pace = ask(30, concurrency=3, delay=0.01)
    assert server.peak == 3 == pace.limit
    server, pace = ask(30, concurrency=8, slots=5, delay=0.02)
    assert pace.limit == 8 and server.refused > 0


def test_a_limit_that_never_ends_is_an_error_that_names_it():
    with pytest.raises(EngineError, match=r"m at http.*: too many \(status 429\); lower the concurrency, or run the"):
        ask(3, slots=0)


def test_a_canceled_request_gives_its_turn_back():
    async def main():
        pace = Pace(1, 60)
        await pace.enter()
        waiting = [asyncio.create_task(pace.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        pace.leave()  # admits the first one, which is canceled at the same moment
        waiting[0].cancel()
        waiting[1].cancel()
        turn = await asyncio.wait_for(waiting[2], 5)
        again = asyncio.create_task(pace.again())
        await asyncio.wait_for(again, 5)
        assert pace.active == 1 and turn.number == 3 and again.result().number == 4
        pace.leave()
        assert pace.active == 0

    asyncio.run(main())


def in_an_hour():
    return datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "2", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_when_to_try_again(headers, seconds):
    assert retry_after(headers) == seconds


def test_when_to_try_again_at_a_time():
    assert retry_after({"retry-after": format_datetime(in_an_hour(), usegmt=True)}) == pytest.approx(3600, abs=60)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1h2m3.5s", 3723.5), ("7", 7), ("in an hour", 3600), ("x", None)],
)
def test_what_remains(reset, seconds):
    reset = in_an_hour().isoformat() if reset == "in an hour" else reset
    expected = None if seconds is None else (5, pytest.approx(seconds, abs=60 if seconds == 3600 else 0.01), 9)
    for name in ("x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"):
        stated = {"remaining": "5", "reset": reset, "limit": "9"}
        assert remaining({name.format(key): value for key, value in stated.items()}) == expected
    assert remaining({}) is None
