"""What the server answers when it cannot do what was asked: one line, in a shape that clients of both kinds read."""

from __future__ import annotations

import logging

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from limrank_ir.errors import EngineError, InputError
from limrank_ir.http.queueing import Full

log = logging.getLogger("uvicorn.error")  # the server's own log, which shows tracebacks

RETRY_AFTER = 10  # seconds after which a machine that failed may be better
CLIENT_GONE = 499  # nginx's status for it; nobody reads it but the metrics


class Refused(Exception):
    """A request that is not taken up."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as clients read it: Cohere's from ``message``, Jina's from ``detail``."""
    line = " ".join(message.split("\n"))
    return JSONResponse({"message": line, "detail": line}, status, headers=headers)


def answer_to(error: Exception, path: str) -> Response:
    """The answer to a request that failed.

    Args:
        error: what was raised.
        path: where, for the log.

    Returns:
        400 for what the client can mend, 503 for what the machine did, 500 for what nobody thought of.
    """
    if isinstance(error, Refused):
        return problem(error.status, str(error), error.headers)
    if isinstance(error, Full):
        return problem(429, str(error), {"Retry-After": str(error.retry_after)})
    if isinstance(error, InputError):
        return problem(400, str(error))
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_GONE)
    if isinstance(error, (EngineError, MemoryError)):
        said = str(error) or "out of memory; send fewer or shorter documents, or try again later"
        log.error("%s: %s", path, said)
        return problem(503, said, {"Retry-After": str(RETRY_AFTER)})
    log.error("%s failed", path, exc_info=error)
    return problem(500, "internal error; the server's log has more")


async def refused(request: Request, error: Exception) -> Response:
    """The answer to a request that a path refused."""
    return answer_to(error, request.url.path)


async def no_such_place(request: Request, error: Exception) -> Response:
    """The answer to a wrong path or method."""
    assert isinstance(error, HTTPException)
    method, path, headers = request.method, request.url.path, dict(error.headers or {})
    message = str(error.detail)
    if error.status_code == 404:
        places = ", ".join(sorted(route for route in request.app.openapi()["paths"]))
        message = f"no {path} here; there are {places}, and /docs that explains them"
    elif error.status_code == 405:
        message = f"{path} does not take {method}; use {headers.get('Allow', 'another method')}"
    return problem(error.status_code, message, headers)
