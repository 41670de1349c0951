"""Reading the bodies of requests: how long they may be, how slow, and how much of them the server holds at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from limrank_ir.http.errors import Refused
from limrank_ir.http.queueing import UNKNOWN_WAIT

SECONDS = 120  # until a body is there
HELD = 20  # bodies of the longest kind that may be held at once
THROWN_AWAY = 10  # lengths of the longest body that are read and forgotten, so that the client reads why


class Bodies:
    """The bodies of the requests that are being answered.

    Attributes:
        held: their bytes.
    """

    def __init__(self, limit: int) -> None:
        """Hold none.

        Args:
            limit: the most bytes of a body.
        """
        self._limit, self.held = limit, 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytearray]:
        """The body of a request, which counts as held until the block ends.

        Args:
            request: the request.

        Yields:
            The body.

        Raises:
            Refused: it is compressed, too long or too slow, or there is no room for it.
            ClientDisconnect: the client has gone.
        """
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise Refused(415, f"Content-Encoding {coding!r} is not read; send the JSON as it is")
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(SECONDS):
                    await self._read(request, body)
            except TimeoutError:
                raise Refused(408, f"the request was not complete after {SECONDS} s; send it faster") from None
            yield body
        finally:
            self.held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        size, room = 0, True
        async for chunk in request.stream():
            size += len(chunk)
            room = room and self.held + len(chunk) <= self._limit * HELD
            if room and size <= self._limit:
                body += chunk
                self.held += len(chunk)
            elif size > self._limit * THROWN_AWAY:
                break
        if size > self._limit:
            raise Refused(413, f"the request is longer than {self._limit} bytes; send fewer or shorter documents")
        if not room:
            message = f"too many long requests at once; try again in {UNKNOWN_WAIT} s"
            raise Refused(429, message, {"Retry-After": str(UNKNOWN_WAIT)})
