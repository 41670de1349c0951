"""Chat completions of any OpenAI-compatible server: retried, and told apart into answers and faults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limrank_ir.errors import EngineError, InputError, LimRankError
from limrank_ir.extras import need
from limrank_ir.llm.answers import Fault, kept

_PASSES = {408, 409, 425, 429}  # beside 5xx: of these the same request may be rid later


@dataclass(frozen=True, slots=True)
class Server:
    """Where a model is and how it may be asked.

    Attributes:
        base_url: of the API, such as ``http://localhost:8000/v1``; None: OpenAI's.
        key_env: the environment variable with the API key. Servers of one's own need none.
        concurrency: the most requests at a time.
        timeout: seconds to wait for an answer.
        retries: how often a request is repeated after a limit (429, honoring Retry-After), a fault of the server (5xx),
            a lost connection, or an answer that is no completion (`limrank_ir.llm.answers`); the pauses grow.
    """

    base_url: str | None = None
    key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 600.0
    retries: int = 6


def check_key(server: Server, model: str) -> None:
    """Make sure that the API key is there, before anything is asked.

    Args:
        server: the server.
        model: its model, for the error message.

    Raises:
        InputError: it is not, and the server is not one of this machine or network; or it cannot be one.
    """
    away = server.base_url is None or server.base_url.startswith("https:")
    key = os.environ.get(server.key_env) or ""
    if away and not key:
        raise InputError(f"{model}: no API key; set {server.key_env}")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"{model}: {server.key_env} holds characters that no API key has; set it again")


class Chat:
    """A connection to a server; `close` it, or use it as an async context manager."""

    def __init__(self, server: Server) -> None:
        """Connect.

        Args:
            server: where.

        Raises:
            InputError: the package openai is not installed.
        """
        need("asking a model", "synth", "openai")
        import openai

        self._server = server
        self._client = openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key=os.environ.get(server.key_env) or "none",
            timeout=server.timeout,
            max_retries=server.retries,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_judge]}),
        )

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask.

        Args:
            body: what is posted to ``/chat/completions``, with ``model`` and ``messages``.

        Returns:
            The answer as the server wrote it. Where the server's filter refuses the request, ``{"refused": why}``.

        Raises:
            InputError: the request or what it is sent with is refused; asked again, it would be again.
            EngineError: the server cannot be reached, or does not answer as it should, however often it is asked.
        """
        import httpx
        import openai

        where = f"{body['model']} at {self._client.base_url}"
        try:
            response = await self._client.post("/chat/completions", cast_to=httpx.Response, body=dict(body))
        except openai.APIStatusError as error:
            raise self._sorted(where, error.response.extensions["fault"]) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise EngineError(f"{where}: cannot be reached ({str(cause) or type(cause).__name__})") from error
        return response.extensions["kept"]

    def _sorted(self, where: str, fault: Fault) -> LimRankError:
        """The user's errors, which the same request would meet again, and the server's, which may pass."""
        status, later = fault.status, "run the same command again later: what was answered is kept"
        if status is None:
            times = f"{self._server.retries + 1} times" if self._server.retries else "once"
            return EngineError(f"{where}: {fault}, {times}; check the server, then {later}")
        if status == 401:
            return InputError(f"{where}: the key in {self._server.key_env} is refused")
        if status == 404:
            return InputError(f"{where}: no such model ({fault}); check its name and base_url")
        if status < 500 and status not in _PASSES:
            return InputError(f"{where}: {fault}; check the model, its parameters and your account with the provider")
        return EngineError(f"{where}: {fault}; {'lower the concurrency, or ' if status == 429 else ''}{later}")

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def __aenter__(self) -> Chat:
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self.close()


async def _judge(response: Any) -> None:
    """Look at a response before openai does, so that its retries go by what an answer is, whatever its status says.

    What was made of it is left in its extensions.
    """
    if response.has_redirect_location:
        return
    await response.aread()
    try:
        answer = response.json()
    except (ValueError, RecursionError):  # cut, nested too deep, not UTF-8
        answer = response.text if response.status_code >= 400 else None
    try:
        response.extensions["kept"] = kept(answer, response.status_code)
        response.status_code = 200
    except Fault as fault:
        response.extensions["fault"] = fault
        response.status_code = fault.status or 502  # such as a gateway gives that has got no answer itself
