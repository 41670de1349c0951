"""LimRank over HTTP for clients of Jina, Cohere, and text-embeddings-inference: ``limrank serve``.

- ``POST /v1/rerank``: the APIs of Jina and Cohere, version 1; ``POST /v2/rerank``: Cohere, version 2.
- ``POST /rerank``: the same as version 1, or text-embeddings-inference if the request has ``texts``.
- ``GET /v1/models``, ``GET /health``, ``GET /metrics`` (Prometheus), ``GET /docs``.

``relevance_score`` is P(true). Results are ordered by log-odds, which do not saturate. In addition to those APIs, a
request may have an ``instruction``, ``"explain": true``, which adds ``log_odds`` and ``reasoning`` to each result, and
a ``ranker``, whose order and scores the results then have.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from limrank_ir import __version__
from limrank_ir.errors import InputError
from limrank_ir.http.answers import write, write_order
from limrank_ir.http.body_limits import BodyReader
from limrank_ir.http.by_ranker import Rankers
from limrank_ir.http.errors import Refused, error_response, on_http_error, on_refused
from limrank_ir.http.metrics import Metrics
from limrank_ir.http.page import docs_page
from limrank_ir.http.queueing import Queue
from limrank_ir.http.requests import Rerank, RerankTexts, read
from limrank_ir.rankers.named import spec
from limrank_ir.rankers.order import Ranker
from limrank_ir.ranking.windows import Windows
from limrank_ir.reranker import LimRank

T = TypeVar("T")

_ABOUT = "Reranks documents for a query with a language model that reads each one and says how relevant it is."
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The results, best first."},
    400: {"description": "The request is invalid; the message says where."},
    401: {"description": "The token is wrong or missing."},
    408: {"description": "The request body did not arrive in time."},
    413: {"description": "The request is too large."},
    415: {"description": "The request is compressed."},
    429: {"description": "Too many requests are waiting; try again after Retry-After seconds."},
    503: {"description": "The model or the machine failed; try again after Retry-After seconds."},
}
_EXAMPLE = {"query": "copy a file", "documents": ["A cake needs flour.", "shutil.copy copies a file."], "top_n": 1}


class Limits(BaseModel):
    """Limits of the server.

    Attributes:
        documents: the maximum number of documents per request.
        bytes: the maximum size of a request body.
        queue: the maximum number of (query, document) pairs of the requests in progress, and of questions that their
            rankers may ask; beyond that, the answer is 429.
        batch: the maximum number of passages in pairs, or questions, that are processed together.
        questions: the maximum number of questions that a request's ranker may ask.
    """

    documents: int = Field(default=1000, ge=1)
    bytes: int = Field(default=10_000_000, ge=1)
    queue: int = Field(default=5000, ge=1)
    batch: int = Field(default=256, ge=1)
    questions: int = Field(default=2000, ge=1)


def create_app(
    limrank: LimRank,
    *,
    token: str | None = None,
    limits: Limits | None = None,
    windows: Windows | None = None,
    ranker: str | Ranker | None = None,
    set_formats: Sequence[str] = (),
) -> FastAPI:
    """Create the application.

    Args:
        limrank: the reranker.
        token: the token that clients must send as ``Authorization: Bearer ...``. None lets everyone in; an empty token
            lets nobody in. ``/health`` is always open.
        limits: the limits.
        windows: how to split long documents (each is as relevant as its best window), or None.
        ranker: the ranker for requests that name none (`limrank_ir.rankers.named.as_ranker`), or None: verdicts.
        set_formats: formats for it (`limrank_ir.prompts.sets.SET_FORMATS`).

    Returns:
        The application. On shutdown, it answers all accepted requests first.

    Raises:
        InputError: the reranker thinks where places are uncertain, which a queue of several requests would change; or
            the ranker and the model, the formats, or windows do not fit each other.
    """
    if limrank.think == "auto":
        raise InputError(
            "think='auto' needs all passages of a query in one call, but a server batches requests; set never or always"
        )
    limits = limits or Limits()
    rankers = Rankers(limrank, ranker, set_formats, questions=limits.questions, splits=windows is not None)
    metrics = Metrics()
    bodies = BodyReader(limits.bytes)
    started = int(time.time())
    queue = Queue(
        limrank,
        capacity=limits.queue,
        batch=limits.batch,
        on_judged=metrics.add_pairs,
        on_asked=metrics.add_questions,
        on_dropped=metrics.dropped.inc,
    )
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
        docs_url=None,  # FastAPI's pages load scripts from the network
        redoc_url=None,
        exception_handlers={HTTPException: on_http_error, Refused: on_refused},
    )

    async def process(request: Request, shape: type[Rerank], version: str) -> Response:
        """Rerank. Reading and writing run in threads, so that large texts do not block other requests."""
        _check_token(request, token)
        async with bodies.read(request) as body:
            parsed, pairs = await asyncio.to_thread(read, body, shape, limits.documents, windows)
            ranking = await asyncio.to_thread(rankers.of, parsed, pairs)
            if ranking is not None:
                order = await _while_connected(request, queue.rank(ranking.ranker, ranking.ask, ranking.candidates))
                name = spec(ranking.ranker)
                content = await asyncio.to_thread(write_order, parsed, order, name, limrank.model.name, version)
                return Response(content, media_type="application/json")
            stream = iter(await _while_connected(request, queue.judge([pair for parts in pairs for pair in parts])))
            verdicts = [[next(stream) for _ in parts] for parts in pairs]
            content = await asyncio.to_thread(write, parsed, verdicts, limrank.model.name, version)
        return Response(content, media_type="application/json")

    async def respond(request: Request, shape: type[Rerank], version: str) -> Response:
        path = request.url.path
        with metrics.seconds.labels(path).time():
            try:
                response = await process(request, shape, version)
            except Exception as error:
                response = error_response(error, path)
        metrics.requests.labels(path, response.status_code).inc()
        return response

    @app.post("/v1/rerank", responses=_RESPONSES, openapi_extra=_schema(Rerank))
    async def rerank_v1(request: Request) -> Response:
        """Rerank documents, as in the Jina API and version 1 of the Cohere API."""
        return await respond(request, Rerank, "1")

    @app.post("/v2/rerank", responses=_RESPONSES, openapi_extra=_schema(Rerank))
    async def rerank_v2(request: Request) -> Response:
        """Rerank documents, as in version 2 of the Cohere API."""
        return await respond(request, Rerank, "2")

    @app.post("/rerank", responses=_RESPONSES, openapi_extra=_schema(RerankTexts))
    async def rerank(request: Request) -> Response:
        """Rerank documents as in version 1, or texts as in text-embeddings-inference."""
        return await respond(request, RerankTexts, "1")

    @app.get("/v1/models", response_description="The list.")
    async def models(request: Request) -> dict[str, Any]:
        """List the served model, in the format that OpenAI clients expect."""
        _check_token(request, token)
        model = {"id": limrank.model.name, "object": "model", "created": started, "owned_by": "limrank-ir"}
        return {"object": "list", "data": [model]}

    @app.head("/health", include_in_schema=False)
    @app.get("/health", response_description="The server is up.")
    async def health() -> dict[str, Any]:
        """Report that the server is up, which model it serves, and how many pairs and questions have taken room."""
        return {"status": "ok", "model": limrank.model.name, "version": __version__, "waiting": queue.pairs}

    @app.get("/metrics", response_class=Response, response_description="The metrics.")
    async def show_metrics(request: Request) -> Response:
        """Metrics for Prometheus."""
        _check_token(request, token)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    return app


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Wait for some work, and cancel it if the client disconnects.

    Args:
        request: the client's request, whose body has been read.
        work: the work.

    Returns:
        The result of the work.

    Raises:
        ClientDisconnect: the client disconnected.
    """
    job = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({job, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientDisconnect
        return job.result()
    finally:
        job.cancel()
        disconnect.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_token(request: Request, token: str | None) -> None:
    if token is None:
        return
    scheme, _, sent = request.headers.get("authorization", "").strip().partition(" ")
    sent = sent.strip()  # the header's bytes, decoded as Latin-1: some clients send Latin-1, others UTF-8
    same = [hmac.compare_digest(raw, token.encode()) for raw in (sent.encode(), sent.encode("latin-1"))]
    if scheme.lower() != "bearer" or not sent or not any(same):
        raise Refused(401, "invalid api token", {"WWW-Authenticate": "Bearer"})


def _schema(shape: type[BaseModel]) -> dict[str, Any]:
    """The request schema for the API documentation."""
    content = {"application/json": {"schema": shape.model_json_schema(), "example": _EXAMPLE}}
    return {"requestBody": {"required": True, "content": content}}
