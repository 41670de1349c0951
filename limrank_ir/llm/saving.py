"""The journal, used from an event loop: a commit waits for the disk, and the loop must not wait with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from limrank_ir.errors import LimRankError
from limrank_ir.llm.journal import Answered, Journal


class Saver:
    """Saves answers in a thread. Those that arrive during a commit share the next one."""

    def __init__(self, journal: Journal) -> None:
        """Take a journal.

        Args:
            journal: the journal.
        """
        self._journal = journal
        self._waiting: list[tuple[Answered, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def get(self, key: str, server: str) -> dict[str, Any] | None:
        """See `Journal.get`."""
        if self._writing is None:  # no commit holds the file, so this takes microseconds
            return self._journal.get(key, server)
        return await asyncio.to_thread(self._journal.get, key, server)

    async def put(self, body: Mapping[str, Any], answer: Mapping[str, Any], server: str) -> None:
        """Save an answer; it is on disk when this returns (see `Journal.put`).

        Raises:
            LimRankError: the journal cannot be written.
        """
        saved = asyncio.get_running_loop().create_future()
        self._waiting.append((Answered(body, answer, server), saved))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await saved

    async def close(self) -> None:
        """Wait until all answers are on disk, also those whose `put` was canceled."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: LimRankError | None = None
            try:
                await asyncio.to_thread(self._journal.put_all, [answered for answered, _ in batch])
            except LimRankError as failure:
                error = failure
            for _, saved in batch:
                if saved.done():  # canceled
                    continue
                if error is None:
                    saved.set_result(None)
                else:
                    saved.set_exception(error)
        self._writing = None
