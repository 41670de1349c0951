"""LimRank over HTTP, in the shapes that clients of Jina, Cohere and text-embeddings-inference speak: ``limrank serve``.

- ``POST /v1/rerank``, ``POST /v2/rerank``: Jina's and Cohere's first and Cohere's second version.
- ``POST /rerank``: the same, or text-embeddings-inference's shape where the request has ``texts``.
- ``GET /v1/models``, ``GET /health``, ``GET /metrics`` (Prometheus), ``GET /docs``.

``relevance_score`` is P(true); results are in the order of the log-odds, which do not saturate. Beyond those shapes a
request may have an ``instruction`` and ``"explain": true``, which adds ``log_odds`` and ``reasoning`` to each result.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from limrank_ir import __version__
from limrank_ir.http import page as http_page
from limrank_ir.http.answers import write
from limrank_ir.http.body import Bodies
from limrank_ir.http.errors import Refused, answer_to, no_such_place, refused
from limrank_ir.http.metrics import Metrics
from limrank_ir.http.queueing import Queue
from limrank_ir.http.requests import Rerank, RerankTexts, read
from limrank_ir.ranking.windows import Windows
from limrank_ir.reranker import LimRank

T = TypeVar("T")

_ABOUT = "Reranks documents for a query with a language model that reads each of them and says how relevant it is."
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The results, best first."},
    400: {"description": "The request cannot be read; the message says where."},
    401: {"description": "The token is wrong or missing."},
    408: {"description": "The request was not complete in time."},
    413: {"description": "The request is too long."},
    415: {"description": "The request is compressed."},
    429: {"description": "Too much waits; come again after Retry-After seconds."},
    503: {"description": "The model, or the machine below it, failed; come again after Retry-After seconds."},
}
_EXAMPLE = {"query": "copy a file", "documents": ["A cake needs flour.", "shutil.copy copies a file."], "top_n": 1}


class Limits(BaseModel):
    """What the server takes.

    Attributes:
        documents: the most documents of a request.
        bytes: the most bytes of its body.
        queue: the most (query, document) pairs that wait; beyond it the answer is 429.
        batch: the most pairs that are judged together.
    """

    documents: int = Field(default=1000, ge=1)
    bytes: int = Field(default=10_000_000, ge=1)
    queue: int = Field(default=5000, ge=1)
    batch: int = Field(default=256, ge=1)


def create_app(
    limrank: LimRank, *, token: str | None = None, limits: Limits | None = None, windows: Windows | None = None
) -> FastAPI:
    """Make the application.

    Args:
        limrank: the reranker.
        token: what clients must send as ``Authorization: Bearer ...``; None: anybody may ask; with an empty one nobody
            may. ``/health`` is open.
        limits: what it takes.
        windows: how long documents are split (each counts as its best window), or None.

    Returns:
        The application. When its server ends it, what it has taken is answered first.
    """
    limits = limits or Limits()
    metrics, bodies, started = Metrics(), Bodies(limits.bytes), int(time.time())
    queue = Queue(limrank, room=limits.queue, batch=limits.batch, judged=metrics.judged, dropped=metrics.dropped.inc)
    metrics.waiting.set_function(lambda: queue.pairs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(queue.run())
        yield
        queue.close()
        await worker

    app = FastAPI(
        title="LimRank",
        description=_ABOUT,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load their scripts from the network
        redoc_url=None,
        exception_handlers={HTTPException: no_such_place, Refused: refused},
    )

    async def reranked(request: Request, shape: type[Rerank], version: str) -> Response:
        """What takes time with the size of the texts runs in threads, so that other requests are answered meanwhile."""
        _check_token(request, token)
        async with bodies.of(request) as body:
            asked, pairs = await asyncio.to_thread(read, body, shape, limits.documents, windows)
            found = iter(await _while_connected(request, queue.judge([pair for parts in pairs for pair in parts])))
            judged = [[next(found) for _ in parts] for parts in pairs]
            answer = await asyncio.to_thread(write, asked, judged, limrank.model.name, version)
        return Response(answer, media_type="application/json")

    async def answered(request: Request, shape: type[Rerank], version: str) -> Response:
        path = request.url.path
        with metrics.seconds.labels(path).time():
            try:
                response = await reranked(request, shape, version)
            except Exception as error:
                response = answer_to(error, path)
        metrics.requests.labels(path, response.status_code).inc()
        return response

    @app.post("/v1/rerank", responses=_ANSWERS, openapi_extra=_schema(Rerank))
    async def rerank_v1(request: Request) -> Response:
        """Rerank documents: Jina's and Cohere's first version."""
        return await answered(request, Rerank, "1")

    @app.post("/v2/rerank", responses=_ANSWERS, openapi_extra=_schema(Rerank))
    async def rerank_v2(request: Request) -> Response:
        """Rerank documents: Cohere's second version."""
        return await answered(request, Rerank, "2")

    @app.post("/rerank", responses=_ANSWERS, openapi_extra=_schema(RerankTexts))
    async def rerank(request: Request) -> Response:
        """Rerank documents as the first version does, or texts as text-embeddings-inference does."""
        return await answered(request, RerankTexts, "1")

    @app.get("/v1/models", response_description="The list.")
    async def models(request: Request) -> dict[str, Any]:
        """The model that is served, in a list as OpenAI's clients expect it."""
        _check_token(request, token)
        model = {"id": limrank.model.name, "object": "model", "created": started, "owned_by": "limrank-ir"}
        return {"object": "list", "data": [model]}

    @app.head("/health", include_in_schema=False)
    @app.get("/health", response_description="It is up.")
    async def health() -> dict[str, Any]:
        """Whether the server is up, and which model it serves."""
        return {"status": "ok", "model": limrank.model.name, "version": __version__, "waiting": queue.pairs}

    @app.get("/metrics", response_class=Response, response_description="The figures.")
    async def show_metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        _check_token(request, token)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(http_page.docs(app.openapi()))

    return app


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is cancelled when the client goes away.

    Args:
        request: the client's request, whose body has been read.
        work: what it waits for.

    Raises:
        ClientDisconnect: the client went away.
    """
    job, left = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({job, left}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientDisconnect
        return job.result()
    finally:
        job.cancel()
        left.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_token(request: Request, token: str | None) -> None:
    if token is None:
        return
    scheme, _, given = request.headers.get("authorization", "").strip().partition(" ")
    given = given.strip()  # bytes read as Latin-1; some clients write other letters so, some in UTF-8
    same = [hmac.compare_digest(sent, token.encode()) for sent in (given.encode(), given.encode("latin-1"))]
    if scheme.lower() != "bearer" or not given or not any(same):
        raise Refused(401, "invalid api token", {"WWW-Authenticate": "Bearer"})


def _schema(shape: type[BaseModel]) -> dict[str, Any]:
    """The request's shape for the API's own documentation."""
    content = {"application/json": {"schema": shape.model_json_schema(), "example": _EXAMPLE}}
    return {"requestBody": {"required": True, "content": content}}
