"""Error responses: one line, in a format that clients of both Cohere and Jina understand."""

from __future__ import annotations

import logging

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from limrank_ir.errors import EngineError, InputError
from limrank_ir.http.queueing import Full

log = logging.getLogger("uvicorn.error")  # the server's log, which shows tracebacks

RETRY_AFTER = 10  # seconds after which to try again when the machine failed
CLIENT_GONE = 499  # as in nginx; only the metrics show it


class Refused(Exception):
    """A request that is not processed."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def error_json(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error for clients: Cohere's read ``message``, Jina's ``detail``."""
    line = " ".join(message.split("\n"))
    return JSONResponse({"message": line, "detail": line}, status, headers=headers)


def error_response(error: Exception, path: str) -> Response:
    """The response to a request that failed.

    Args:
        error: the exception.
        path: the path of the request, for the log.

    Returns:
        400 if the client can fix it, 503 if the machine failed, 500 for a bug.
    """
    if isinstance(error, Refused):
        return error_json(error.status, str(error), error.headers)
    if isinstance(error, Full):
        return error_json(429, str(error), {"Retry-After": str(error.retry_after)})
    if isinstance(error, InputError):
        return error_json(400, str(error))
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_GONE)
    if isinstance(error, (EngineError, MemoryError)):
        message = str(error) or "out of memory; send fewer or shorter documents, or try again later"
        log.error("%s: %s", path, message)
        return error_json(503, message, {"Retry-After": str(RETRY_AFTER)})
    log.error("%s failed", path, exc_info=error)
    return error_json(500, "internal error; see the server's log")


async def on_refused(request: Request, error: Exception) -> Response:
    """Handle `Refused`."""
    return error_response(error, request.url.path)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handle a wrong path or method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    headers = dict(error.headers or {})
    message = str(error.detail)
    if error.status_code == 404:
        paths = ", ".join(sorted(request.app.openapi()["paths"]))
        message = f"no such path {path}; use one of {paths}, which /docs explains"
    elif error.status_code == 405:
        message = f"{path} does not accept {request.method}; use {headers.get('Allow', 'another method')}"
    return error_json(error.status_code, message, headers)
