"""Work through prompts with several servers at the same time, and hand out readings as they come."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from limrank_ir.engines.servers.connection import ServerGone

log = logging.getLogger("limrank_ir")
T = TypeVar("T")


def choose_server(name: str, urls: Sequence[str]) -> str:
    """The server for a query: always the same one, and when a server is gone, only its queries move.

    This is rendezvous hashing (Thaler and Ravishankar 1998).

    Args:
        name: what the query's prompts begin with.
        urls: the servers.

    Returns:
        One of them.
    """
    return max(
        urls, key=lambda url: hashlib.blake2b(f"{url} {name}".encode("utf-8", "replace"), digest_size=8).digest()
    )


async def share(
    items: Sequence[tuple[int, str]],
    urls: Sequence[str],
    concurrency: int,
    work: Callable[[str, int], Awaitable[None]],
) -> None:
    """Do work with servers. When one is gone, the others take over what it has not finished.

    Args:
        items: the number of each item, and what decides about its server.
        urls: the servers.
        concurrency: the maximum number of items at a time for each server.
        work: does one item with one server.

    Raises:
        ServerGone: all servers are gone.
    """
    left = list(items)
    alive = list(urls)
    while left:
        shares: dict[str, deque[tuple[int, str]]] = {url: deque() for url in alive}
        for item in left:
            shares[choose_server(item[1], alive)].append(item)
        left = []
        gone: dict[str, ServerGone] = {}

        async def drain(url: str, waiting: deque[tuple[int, str]], gone: dict[str, ServerGone] = gone) -> None:
            while waiting and url not in gone:
                item = waiting.popleft()
                try:
                    await work(url, item[0])
                except ServerGone as lost:
                    waiting.append(item)
                    gone.setdefault(url, lost)

        async with asyncio.TaskGroup() as group:
            for url, waiting in shares.items():
                for _ in range(min(concurrency, len(waiting))):
                    group.create_task(drain(url, waiting))
        for url, error in gone.items():
            alive.remove(url)
            left += shares[url]
            if not alive:
                raise error
            log.warning("%s; the other servers take over its %d prompts", error, len(shares[url]))


def in_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, also where an event loop is running already, as in a notebook."""
    results: list[T] = []

    async def main(put: Callable[[T], None]) -> None:
        put(await work())

    for part in stream(main):
        results += part
    return results[0]


def stream(work: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]]) -> Iterator[list[T]]:
    """Run a coroutine in a thread, and yield what it puts out as soon as it does.

    Closing the iterator cancels the coroutine and waits for its end.

    Args:
        work: gets the function that puts something out.

    Yields:
        All that was put out since the last time.

    Raises:
        BaseException: what the coroutine raises, after all that it has put out.
    """
    ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    task = loop.create_task(work(ready.put))

    def run() -> None:
        end: BaseException | None = None
        try:
            loop.run_until_complete(task)
        except BaseException as error:
            end = _first(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            ready.put(_End(end))

    thread = threading.Thread(target=run, name="limrank-servers", daemon=True)
    thread.start()
    ended = False
    try:
        while not ended:
            found = [ready.get()]
            while not ready.empty():
                found.append(ready.get())
            last = found[-1]
            ended = isinstance(last, _End)
            if parts := [part for part in found if not isinstance(part, _End)]:
                yield parts
            if isinstance(last, _End) and last.error is not None:
                raise last.error
    finally:
        if not ended:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


class _End:
    """The end of a coroutine: with an error, or without."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _first(error: BaseException) -> BaseException:
    """The error itself, out of the groups that `asyncio.TaskGroup` makes."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
