"""LimRank over HTTP, in the shapes that clients of Jina and Cohere speak: ``limrank serve``.

- ``POST /v1/rerank``: Jina's and Cohere's first version. Documents are texts, or objects with ``text``.
- ``POST /v2/rerank``: Cohere's second version. Documents are texts.
- ``GET /health``, ``GET /metrics`` (Prometheus).

``relevance_score`` is P(true); results are in the order of the log-odds, which do not saturate. Beyond those shapes a
request may have an ``instruction`` and ``"explain": true``, which adds ``log_odds`` and ``reasoning`` to each result.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from limrank_ir import __version__
from limrank_ir.errors import LimRankError
from limrank_ir.queueing import Full, Queue
from limrank_ir.reranker import LimRank

log = logging.getLogger("limrank_ir")

Text = Annotated[str, StringConstraints(min_length=1)]


class TextDocument(BaseModel):
    """A document as an object; its other fields come back as they are."""

    model_config = ConfigDict(extra="allow")

    text: str


class Rerank(BaseModel):
    """A request of the second version; fields of other servers' models have no effect."""

    query: Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
    documents: list[str] = Field(min_length=1)
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    instruction: str | None = None
    explain: bool = False


class RerankV1(Rerank):
    """A request of the first version."""

    documents: list[str | TextDocument] = Field(min_length=1)  # type: ignore[assignment]
    return_documents: bool = False


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


class _Refused(Exception):
    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class _Metrics:
    """What ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("limrank_requests", "Answered requests.", ["path", "status"], **own)
        self.seconds = Histogram("limrank_request_seconds", "Time from request to answer.", ["path"], **own)
        self.pairs = Counter("limrank_pairs", "Judged (query, document) pairs.", **own)
        self.batch = Histogram(
            "limrank_batch_pairs", "Pairs judged together.", buckets=[2**n for n in range(13)], **own
        )
        self.judging = Counter("limrank_judging_seconds", "Time that the model worked.", **own)
        self.waiting = Gauge("limrank_queue_pairs", "Pairs that wait or are being judged.", **own)

    def judged(self, pairs: int, seconds: float) -> None:
        self.pairs.inc(pairs)
        self.batch.observe(pairs)
        self.judging.inc(seconds)


def create_app(limrank: LimRank, *, token: str | None = None, limits: Limits | None = None) -> FastAPI:
    """Make the application.

    Args:
        limrank: the reranker.
        token: what clients must send as ``Authorization: Bearer ...``; None: anybody may ask. ``/health`` is open.
        limits: what it takes.

    Returns:
        The application. When its server ends it, what it has taken is answered first.
    """
    limits = limits or Limits()
    metrics = _Metrics()
    queue = Queue(limrank, room=limits.queue, batch=limits.batch, judged=metrics.judged)
    metrics.waiting.set_function(lambda: queue.pairs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(queue.run())
        yield
        queue.close()
        await worker

    app = FastAPI(title="LimRank", version=__version__, lifespan=lifespan)

    async def answered(request: Request, shape: type[Rerank], version: str) -> Response:
        path = request.url.path
        with metrics.seconds.labels(path).time():
            try:
                _check_token(request, token)
                asked = _parsed(await _body(request, limits.bytes), shape)
                if len(asked.documents) > limits.documents:
                    count = f"{len(asked.documents)} documents, more than {limits.documents}"
                    raise _Refused(400, f"{count}; send them in several requests")
                response: Response = JSONResponse(await _reranked(queue, limrank, asked, version))
            except _Refused as refused:
                response = _error(refused.status, str(refused), refused.headers)
            except Full as full:
                response = _error(429, str(full), {"Retry-After": str(full.retry_after)})
            except LimRankError as error:  # the model was loaded before: it is the request that it cannot read
                response = _error(400, str(error))
            except Exception:
                log.exception("%s failed", path)
                response = _error(500, "internal error; the server's log has more")
        metrics.requests.labels(path, response.status_code).inc()
        return response

    @app.post("/v1/rerank", openapi_extra=_schema(RerankV1))
    async def rerank_v1(request: Request) -> Response:
        """Rerank documents: Jina's and Cohere's first version."""
        return await answered(request, RerankV1, "1")

    @app.post("/v2/rerank", openapi_extra=_schema(Rerank))
    async def rerank_v2(request: Request) -> Response:
        """Rerank documents: Cohere's second version."""
        return await answered(request, Rerank, "2")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server is up, and which model it serves."""
        return {"status": "ok", "model": limrank.model.name, "version": __version__, "waiting": queue.pairs}

    @app.get("/metrics")
    async def show_metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        try:
            _check_token(request, token)
        except _Refused as refused:
            return _error(refused.status, str(refused), refused.headers)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


async def _reranked(queue: Queue, limrank: LimRank, asked: Rerank, version: str) -> dict[str, Any]:
    texts = [document if isinstance(document, str) else document.text for document in asked.documents]
    verdicts = await queue.judge([(asked.query, text, asked.instruction) for text in texts])
    order = sorted(range(len(texts)), key=lambda index: -verdicts[index].log_odds)
    results = []
    for index in order[: asked.top_n]:
        verdict = verdicts[index]
        result: dict[str, Any] = {"index": index, "relevance_score": verdict.probability}
        if isinstance(asked, RerankV1) and asked.return_documents:
            document = asked.documents[index]
            result["document"] = {"text": document} if isinstance(document, str) else document.model_dump()
        if asked.explain:
            result |= {"log_odds": verdict.log_odds, "reasoning": verdict.reasoning}
        results.append(result)
    tokens = sum(verdict.prompt_tokens + verdict.reasoning_tokens for verdict in verdicts)
    return {
        "id": str(uuid.uuid4()),
        "model": limrank.model.name,
        "results": results,
        "usage": {"total_tokens": tokens, "prompt_tokens": sum(verdict.prompt_tokens for verdict in verdicts)},
        "meta": {"api_version": {"version": version}, "billed_units": {"search_units": 1}},
    }


async def _body(request: Request, limit: int) -> bytes:
    """The body, refused as soon as it is known to be too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _Refused(413, f"the request is longer than {limit} bytes; send fewer or shorter documents")
    return bytes(body)


def _parsed(body: bytes, shape: type[Rerank]) -> Rerank:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _Refused(
            400, f"invalid request: {where}: {first['msg']}" if where else f"invalid request: {first['msg']}"
        ) from error


def _check_token(request: Request, token: str | None) -> None:
    given = request.headers.get("authorization", "").encode()
    if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise _Refused(401, "invalid api token", {"WWW-Authenticate": "Bearer"})


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as clients read it: Cohere's from ``message``, Jina's from ``detail``."""
    return JSONResponse({"message": message, "detail": message}, status, headers=headers)


def _schema(shape: type[BaseModel]) -> dict[str, Any]:
    """The request's shape for the API's own documentation."""
    content = {"application/json": {"schema": shape.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
