"""Responses: verdicts, or a ranker's order, in the formats of Cohere, Jina, and text-embeddings-inference."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import to_json

from limrank_ir.http.requests import Rerank, RerankTexts
from limrank_ir.rankers.order import Order
from limrank_ir.verdict import Verdict


@dataclass(frozen=True, slots=True)
class _Scored:
    """A document with its score, and what is added to its result if an explanation is wanted."""

    index: int
    score: float
    explanation: Mapping[str, Any]


def write(request: Rerank, verdicts: Sequence[Sequence[Verdict]], model: str, version: str) -> bytes:
    """Write a response with verdicts.

    Args:
        request: the request.
        verdicts: for each document its verdict, or one verdict per window; the best window counts.
        model: the model's name.
        version: the version of the Cohere API that the client used.

    Returns:
        JSON, with the results by descending log-odds; ties keep the order of the documents.
    """
    raw = isinstance(request, RerankTexts) and request.texts is not None and request.raw_scores
    best = [max(of_document, key=lambda verdict: verdict.log_odds) for of_document in verdicts]
    scored = [
        _Scored(
            index,
            best[index].log_odds if raw else best[index].probability,
            {"log_odds": best[index].log_odds, "reasoning": best[index].reasoning},
        )
        for index in sorted(range(len(best)), key=lambda index: -best[index].log_odds)[: request.limit]
    ]
    every = [verdict for of_document in verdicts for verdict in of_document]
    tokens = sum(verdict.prompt_tokens for verdict in every)
    total = tokens + sum(verdict.reasoning_tokens for verdict in every)
    return _response(request, scored, model, version, {"usage": {"total_tokens": total, "prompt_tokens": tokens}})


def write_order(request: Rerank, order: Order, ranker: str, model: str, version: str) -> bytes:
    """Write a response with a ranker's order.

    Args:
        request: the request.
        order: the order.
        ranker: the ranker's name.
        model: the model's name.
        version: the version of the Cohere API that the client used.

    Returns:
        JSON, with the results in that order, and the scores that the ranker gave.
    """
    places = zip(order.indices, order.scores, order.marks, strict=True)
    scored = [_Scored(index, score, {"mark": mark}) for index, score, mark in places][: request.limit]
    counts = {"ranker": {"name": ranker, **asdict(order.counts)}, "usage": {"total_tokens": order.counts.tokens}}
    return _response(request, scored, model, version, counts)


def _response(request: Rerank, scored: Sequence[_Scored], model: str, version: str, counts: Mapping[str, Any]) -> bytes:
    if isinstance(request, RerankTexts) and request.texts is not None:
        return to_json([_text_result(request, document) for document in scored])
    return to_json(
        {
            "id": str(uuid.uuid4()),
            "model": model,
            "results": [_result(request, document) for document in scored],
            **counts,
            "meta": {"api_version": {"version": version}, "billed_units": {"search_units": 1}},
        }
    )


def _result(request: Rerank, scored: _Scored) -> dict[str, Any]:
    """One result in the format of Cohere and Jina."""
    result: dict[str, Any] = {"index": scored.index, "relevance_score": scored.score}
    if request.return_documents:
        document = request.items[scored.index]
        result["document"] = {"text": document} if isinstance(document, str) else document
    return result | (dict(scored.explanation) if request.explain else {})


def _text_result(request: RerankTexts, scored: _Scored) -> dict[str, Any]:
    """One result in the format of text-embeddings-inference."""
    result: dict[str, Any] = {"index": scored.index, "score": scored.score}
    if request.return_text:
        result["text"] = request.items[scored.index]
    return result | (dict(scored.explanation) if request.explain else {})
