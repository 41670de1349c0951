"""One server's HTTP: time limits, retries, and errors that say what to do."""

from __future__ import annotations

import asyncio
import email.utils
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from limrank_ir.errors import EngineError, InputError, LimRankError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

KEY = "LIMRANK_API_KEY"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries; each pause is twice as long as the last one
LONGEST_RETRY_AFTER = 120.0  # seconds; a server that wants more is not waited for
LATER = "what was judged is in the store, if there is one: run the same command again later"
_TEMPORARY = {408, 409, 425, 429}  # besides 5xx: the same request may succeed later
_MAX_MESSAGE = 300  # characters of an error message from a server


class Fault(Exception):
    """An answer that is not what was asked for; another try may get it."""


class ServerGone(EngineError):
    """A server that does not answer any more. Others may take over what it was asked."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to use servers: the engine's options.

    Attributes:
        model: the name under which the servers know the model, or None: that of the model.
        concurrency: the maximum number of requests at a time to each server.
        timeout: the maximum number of seconds for one answer.
        retries: how often to repeat a request that failed.
    """

    model: str | None = None
    concurrency: int = 64
    timeout: float = 600.0
    retries: int = 6

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a value is invalid.
        """
        for name, least, kinds in (("concurrency", 1, int), ("timeout", 0.001, (int, float)), ("retries", 0, int)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
                number = "a whole number" if kinds is int else "a number"
                raise InputError(f"engine option {name} is {value!r}; it must be {number} of at least {least}")
        if not (self.model is None or isinstance(self.model, str)):
            raise InputError(f"engine option model is {self.model!r}; it must be a name")


def server_urls(urls: str) -> list[str]:
    """Split URLs and take off what is the same for all servers: a slash at the end, and ``/v1``.

    Args:
        urls: one URL or several, separated by commas.

    Returns:
        The URLs, each once.

    Raises:
        InputError: one is not the URL of a server, or contains a key.
    """
    found = []
    for url in filter(None, (part.strip() for part in urls.split(","))):
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query:
            raise InputError(f"the URL of {parts.hostname}: leave the key out of it, and set {KEY} instead")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url!r} is not the URL of a server; give one like http://host:8000")
        found.append(f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/v1"))
    if not found:
        raise InputError("no URL of a server; give one like http://host:8000")
    return list(dict.fromkeys(found))


class Connection:
    """Asks one server, as an async context manager."""

    def __init__(self, url: str, settings: Settings) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            url: the server's URL.
            settings: how to use it.

        Raises:
            InputError: the key in the environment is not one.
        """
        import httpx

        self.url = url
        self.settings = settings
        self._key = os.environ.get(KEY) or ""
        if not (self._key.isascii() and self._key.isprintable()):
            raise InputError(f"{KEY} has characters that no API key has; set it again")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # The time limit is that of the whole answer, which httpx does not have.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency)
        self._client = httpx.AsyncClient(headers=headers, timeout=None, limits=limits)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """What a server says at a path, or None if it has no such path. It is asked twice at most.

        Raises:
            InputError: the server refuses the key.
            EngineError: it cannot be reached or fails.
        """
        return await self._ask("GET", path, None, lambda answer: answer, min(self.settings.retries, 1), optional=True)

    async def post(self, path: str, body: Mapping[str, Any], check: Callable[[Any], T]) -> T:
        """Send a request, again and again if it fails.

        Args:
            path: the path.
            body: the JSON body.
            check: reads the answer, or raises `Fault` if it is not what was asked for.

        Returns:
            What `check` returns.

        Raises:
            InputError: the server rejects the request or the key.
            ServerGone: it cannot be reached.
            EngineError: it gave no valid answer after all retries.
        """
        return await self._ask("POST", path, body, check, self.settings.retries)

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        check: Callable[[Any], T],
        retries: int,
        *,
        optional: bool = False,
    ) -> T:
        import httpx

        for attempt in range(retries + 1):
            pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * (1 - random.random() / 4)
            try:
                async with asyncio.timeout(self.settings.timeout):
                    response = await self._client.request(method, self.url + path, json=body)
                if optional and response.status_code in (404, 405, 501):
                    return check(None)
                if response.status_code < 300:
                    return check(_json(response))
                failure = self._refusal(response)
                if isinstance(failure, InputError):
                    raise failure
                wanted = _retry_after(response)
                if wanted is not None and wanted > LONGEST_RETRY_AFTER:
                    raise failure
                pause = pause if wanted is None else wanted
            except Fault as fault:
                failure = EngineError(f"{self.url}: {self._without_key(str(fault))}, {_times(attempt + 1)}; {LATER}")
            except TimeoutError:
                seconds = f"{self.settings.timeout:g} seconds"
                failure = ServerGone(f"{self.url}: no answer within {seconds}, {_times(attempt + 1)}; {LATER}")
            except httpx.TransportError as error:
                why = self._without_key(str(error)) or type(error).__name__
                failure = ServerGone(f"{self.url}: cannot be reached ({why}); check that it runs; {LATER}")
            if attempt < retries:
                await asyncio.sleep(pause)
        raise failure

    def _refusal(self, response: httpx.Response) -> LimRankError:
        """What a response without an answer means."""
        status = response.status_code
        why = f"{self._without_key(_message(response))} (status {status})"
        if status < 400:
            return InputError(f"{self.url}: redirects to another place {why}; give the URL of the server itself")
        if status in (401, 403):
            return InputError(f"{self.url}: the key in {KEY} is {'refused' if self._key else 'missing'} {why}")
        if status == 429:
            return EngineError(f"{self.url}: too many requests {why}; lower the concurrency, or {LATER}")
        if status < 500 and status not in _TEMPORARY:
            return InputError(f"{self.url}: does not accept the request {why}; check the model and the server's limits")
        gone = status in (502, 503, 504)  # what a gateway says of a server that is down
        return (ServerGone if gone else EngineError)(f"{self.url}: fails {why}; check its log; {LATER}")

    def _without_key(self, text: str) -> str:
        text = text.replace(self._key, "...") if self._key else text
        return " ".join(text.split())[:_MAX_MESSAGE]


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError) as error:  # cut off, nested too deep, or not UTF-8
        raise Fault("an answer that is not JSON") from error


def _message(response: httpx.Response) -> str:
    """The reason in a response; servers put it in different places."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return ""
    for name in ("error", "message", "detail"):
        found = found.get(name, found) if isinstance(found, dict) else found
    return str(found)


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds that a response asks to wait: a number, or the time of an HTTP date."""
    value = response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
