"""Reading request bodies, with limits on their size, their speed, and the memory that all of them take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from limrank_ir.http.errors import Refused
from limrank_ir.http.queueing import UNKNOWN_WAIT

TIMEOUT = 120  # seconds for a whole body to arrive
MAX_IN_MEMORY = 20  # total size of the bodies in memory, in bodies of the maximum size
MAX_DISCARDED = 10  # how much of a body that is too long is read (and discarded), so that the client gets the reason


class BodyReader:
    """Reads the bodies of requests.

    Attributes:
        in_memory: bytes of the bodies that are being processed.
    """

    def __init__(self, limit: int) -> None:
        """Create a reader.

        Args:
            limit: the maximum size of a body in bytes.
        """
        self._limit = limit
        self.in_memory = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Read the body of a request. It counts as in memory until the block ends.

        Args:
            request: the request.

        Yields:
            The body.

        Raises:
            Refused: it is compressed, too long, or too slow, or the bodies in memory leave no room for it.
            ClientDisconnect: the client disconnected.
        """
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise Refused(415, f"Content-Encoding {encoding!r} is not supported; send uncompressed JSON")
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._receive(request, body)
            except TimeoutError:
                raise Refused(408, f"the request body did not arrive within {TIMEOUT} s; send it faster") from None
            yield body
        finally:
            self.in_memory -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        size = 0
        room = True
        async for chunk in request.stream():
            size += len(chunk)
            room = room and self.in_memory + len(chunk) <= self._limit * MAX_IN_MEMORY
            if room and size <= self._limit:
                body += chunk
                self.in_memory += len(chunk)
            elif size > self._limit * MAX_DISCARDED:
                break
        if size > self._limit:
            raise Refused(413, f"the request is longer than {self._limit} bytes; send fewer or shorter documents")
        if not room:
            message = f"too many large requests at once; try again in {UNKNOWN_WAIT} s"
            raise Refused(429, message, {"Retry-After": str(UNKNOWN_WAIT)})
