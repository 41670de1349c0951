"""Chat completions from any OpenAI-compatible server, with retries and checked answers."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from limrank_ir.errors import EngineError, InputError, LimRankError
from limrank_ir.extras import need
from limrank_ir.llm.answers import Fault, check_answer, usage
from limrank_ir.llm.pace import MOST, Pace

OPENAI = "https://api.openai.com/v1"
_LATER = "run the same command again later: all answers so far are saved"
_TEMPORARY = {408, 409, 425, 429}  # besides 5xx: the same request may succeed later


@dataclass(frozen=True, slots=True)
class Server:
    """A server and how to use it.

    Attributes:
        base_url: the URL of the API, such as ``http://localhost:8000/v1``; None for OpenAI, or for what
            ``OPENAI_BASE_URL`` says.
        key_env: the environment variable with the API key. Your own servers need none.
        concurrency: the maximum number of concurrent requests, or ``"auto"`` (`limrank_ir.llm.pace.Pace`).
        timeout: seconds to wait for an answer.
        retries: how often to repeat a request after a rate limit (429, honoring Retry-After), a server error (5xx), a
            lost connection, or an answer that is not a completion (`limrank_ir.llm.answers`); with growing pauses.
    """

    base_url: str | None = None
    key_env: str = "OPENAI_API_KEY"
    concurrency: int | Literal["auto"] = 8
    timeout: float = 600.0
    retries: int = 6

    @property
    def address(self) -> str:
        """The URL in one spelling, without a user or password: the server's name in journals."""
        url = urlsplit(self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI)
        host = (url.hostname or "") if ":" not in (url.hostname or "") else f"[{url.hostname}]"
        port = "" if url.port in (None, {"http": 80, "https": 443}.get(url.scheme)) else f":{url.port}"
        query = f"?{url.query}" if url.query else ""
        return f"{url.scheme}://{host}{port}{url.path.rstrip('/')}{query}"

    @property
    def most(self) -> int:
        """The maximum number of concurrent requests."""
        return MOST if self.concurrency == "auto" else self.concurrency


def check_key(server: Server, model: str) -> None:
    """Make sure that there is an API key before the first request.

    Args:
        server: the server.
        model: its model, for the error message.

    Raises:
        InputError: the key is missing, and the server is not in the local network; or the key is invalid.
    """
    remote = server.address.startswith("https:")  # also by OPENAI_BASE_URL
    key = os.environ.get(server.key_env) or ""
    if remote and not key:
        raise InputError(f"{model}: no API key; set {server.key_env}")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"{model}: {server.key_env} has characters that no API key has; set it again")


class Chat:
    """A connection to a server; `close` it, or use it as an async context manager."""

    def __init__(self, server: Server) -> None:
        """Connect.

        Args:
            server: the server.

        Raises:
            InputError: the package openai is not installed.
        """
        need("asking a model", "synth", "openai")
        import openai

        self._server = server
        self.pace = Pace(server.concurrency, server.timeout)
        self._client = openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key=os.environ.get(server.key_env) or "none",
            timeout=server.timeout,
            max_retries=server.retries,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_check_response]}),
        )

    async def complete(
        self,
        body: Mapping[str, Any],
        *,
        ready: Callable[[], Awaitable[None]] | None = None,
        keep: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
    ) -> dict[str, Any]:
        """Send a request when the pace allows it.

        Args:
            body: the body for ``/chat/completions``, with ``model`` and ``messages``.
            ready: called when it is the request's turn; if it raises, nothing is sent.
            keep: called with the answer before another request takes the turn, so that a crash never loses more
                answers than there are turns.

        Returns:
            The server's answer, or ``{"refused": reason}`` if its content filter refused the request.

        Raises:
            InputError: the server rejected the request or the key; a retry would not help.
            EngineError: the server cannot be reached, or gave no valid answer after all retries.
        """
        import httpx
        import openai

        where = f"{body['model']} at {self._client.base_url}"
        turn = await self.pace.enter()
        try:
            if ready is not None:
                await ready()
            limits = 0
            while True:
                try:
                    response = await self._client.post("/chat/completions", cast_to=httpx.Response, body=dict(body))
                except openai.RateLimitError as error:
                    self.pace.limited(turn, error.response.headers)
                    limits += 1
                    if limits > self._server.retries:
                        raise self._error(where, error.response.extensions["fault"]) from error
                    turn = await self.pace.again()
                    continue
                answer: dict[str, Any] = response.extensions["answer"]
                self.pace.answered(turn, usage(answer).response, response.headers)
                if keep is not None:
                    await keep(answer)
                return answer
        except openai.APIStatusError as error:
            raise self._error(where, error.response.extensions["fault"]) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            advice = "check its base_url and that it runs"
            if isinstance(error, openai.APITimeoutError):
                advice = f"lower the concurrency, or raise the timeout ({self._server.timeout:g} seconds)"
            reason = f"{where}: cannot be reached ({str(cause) or type(cause).__name__})"
            raise EngineError(f"{reason}; {advice}, then {_LATER}") from error
        finally:
            self.pace.leave()

    def _error(self, where: str, fault: Fault) -> LimRankError:
        """An `InputError` if the same request would fail again, an `EngineError` if it may succeed later."""
        status = fault.status
        if status is None:
            times = f"{self._server.retries + 1} times" if self._server.retries else "once"
            return EngineError(f"{where}: {fault}, {times}; check the server, then {_LATER}")
        if status == 401:
            return InputError(f"{where}: the key in {self._server.key_env} is refused")
        if status == 404:
            return InputError(f"{where}: no such model ({fault}); check its name and base_url")
        if status < 500 and status not in _TEMPORARY:
            return InputError(f"{where}: {fault}; check the model, its parameters and your account with the provider")
        advice = f"lower the concurrency, or {_LATER}" if status == 429 else _LATER
        return EngineError(f"{where}: {fault}; {advice}")

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def __aenter__(self) -> Chat:
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self.close()


async def _check_response(response: Any) -> None:
    """Check a response before openai does, so that it retries by the content of an answer, not just by its status.

    The result is stored in the extensions of the response.
    """
    if response.has_redirect_location:
        return
    await response.aread()
    try:
        answer = response.json()
    except (ValueError, RecursionError):  # truncated, nested too deep, or not UTF-8
        answer = response.text if response.status_code >= 400 else None
    try:
        response.extensions["answer"] = check_answer(answer, response.status_code)
        response.status_code = 200
    except Fault as fault:
        response.extensions["fault"] = fault
        response.status_code = fault.status or 502  # like a gateway without an answer
        if response.status_code == 429:
            response.headers["x-should-retry"] = "false"  # openai would not let other requests go first
