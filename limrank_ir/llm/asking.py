"""Many requests to one server, each answer saved before it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from limrank_ir.errors import LimRankError
from limrank_ir.llm.answers import usable
from limrank_ir.llm.chat import Chat, Server
from limrank_ir.llm.journal import Journal, request_key
from limrank_ir.llm.saving import Saver


async def ask_all(server: Server, bodies: Sequence[Mapping[str, Any]], journal: Journal) -> list[tuple[Any, bool]]:
    """Get the answers to requests, from the journal or from a server.

    Args:
        server: the server, whose limit decides how many requests are in flight.
        bodies: the requests (`limrank_ir.llm.chat.Chat.complete`), all different.
        journal: the answers so far; new ones are on disk when this returns.

    Returns:
        (answer, whether it was in the journal) of each request, in order.

    Raises:
        LimRankError: the server or the journal fails. Requests that are in flight by then are finished, and their
            answers saved; no more are sent.
    """
    saver = Saver(journal)
    failed: list[LimRankError] = []

    async def ready() -> None:
        if failed:
            raise failed[0]

    async with Chat(server) as chat:

        async def one(body: Mapping[str, Any]) -> tuple[Any, bool]:
            async def keep(answer: dict[str, Any]) -> None:
                await saver.put(body, answer, server.address)

            known = await saver.get(request_key(body), server.address)
            if known is not None and usable(known):
                return known, True
            try:
                return await chat.complete(body, ready=ready, keep=keep), False
            except LimRankError as error:
                failed.append(error)
                raise

        found = await asyncio.gather(*map(one, bodies), return_exceptions=True)
        await saver.close()
    if failed:
        raise failed[0]
    answers = []
    for each in found:
        if isinstance(each, BaseException):
            raise each
        answers.append(each)
    return answers
