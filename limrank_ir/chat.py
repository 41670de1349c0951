"""Chat completions of any OpenAI-compatible server: retried, and told apart into answers and faults."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limrank_ir.errors import EngineError, InputError

CHECKED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a model is and how it may be asked.

    Attributes:
        base_url: of the API, such as ``http://localhost:8000/v1``; None: OpenAI's.
        key_env: the environment variable with the API key. Servers of one's own need none.
        concurrency: the most requests at a time.
        timeout: seconds to wait for an answer.
        retries: how often a request is repeated after a limit (429, honoring Retry-After), a fault of the server (5xx),
            a lost connection, or an answer that is no JSON; the pauses grow.
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
        LimRankError: it is not, and the server is not one of this machine or network.
    """
    away = server.base_url is None or server.base_url.startswith("https:")
    if away and not os.environ.get(server.key_env):
        raise InputError(f"{model}: no API key; set {server.key_env}")


class Chat:
    """A connection to a server; `close` it, or use it as an async context manager."""

    def __init__(self, server: Server) -> None:
        """Connect.

        Args:
            server: where.

        Raises:
            LimRankError: the package openai is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise InputError("openai is not installed; run: pip install 'limrank-ir[synth]'") from error

        self._server = server
        self._client = openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key=os.environ.get(server.key_env) or "none",
            timeout=server.timeout,
            max_retries=server.retries,
        )

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask.

        Args:
            body: what is posted to ``/chat/completions``, with ``model`` and ``messages``.

        Returns:
            The answer as the server wrote it. Where the server's filter refuses the request, ``{"refused": why}``.

        Raises:
            LimRankError: the server cannot be asked, or not this; the message says what to do.
        """
        import httpx
        import openai

        where = f"{body['model']} at {self._client.base_url}"
        for trial in range(self._server.retries + 1):
            try:
                response = await self._client.post("/chat/completions", cast_to=httpx.Response, body=dict(body))
                answer = response.json()
            except json.JSONDecodeError:
                continue  # cut on its way: the server may do better
            except openai.AuthenticationError as error:
                raise InputError(f"{where}: the key in {self._server.key_env} is refused") from error
            except openai.NotFoundError as error:
                raise InputError(f"{where}: no such model ({_said(error)}); check its name and base_url") from error
            except openai.APIStatusError as error:
                if error.code in CHECKED:
                    return {"refused": _said(error)}
                raise EngineError(f"{where}: {_said(error)} (status {error.status_code}){_advice(error)}") from error
            except openai.APIConnectionError as error:
                cause = error.__cause__ or error
                raise EngineError(f"{where}: cannot be reached ({str(cause) or type(cause).__name__})") from error
            if isinstance(answer, dict) and (answer.get("choices") or trial == self._server.retries):
                return answer
        raise EngineError(f"{where}: answers that are no JSON, {self._server.retries + 1} times; check the server")

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def __aenter__(self) -> Chat:
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self.close()


def _said(error: Any) -> str:
    """A server's message in one line."""
    found = error.body.get("message") if isinstance(error.body, dict) else None
    return " ".join(str(found or error.message).split())[:300]


def _advice(error: Any) -> str:
    if error.status_code == 429:
        return "; lower the concurrency, or wait, and run the same command again: what was answered is kept"
    if error.status_code >= 500:
        return "; run the same command again later: what was answered is kept"
    return ""
