"""Responses: verdicts in the formats of Cohere, Jina, and text-embeddings-inference."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from limrank_ir.http.requests import Rerank, RerankTexts
from limrank_ir.verdict import Verdict


def write(request: Rerank, verdicts: Sequence[Sequence[Verdict]], model: str, version: str) -> bytes:
    """Write a response.

    Args:
        request: the request.
        verdicts: for each document its verdict, or one verdict per window; the best window counts.
        model: the model's name.
        version: the version of the Cohere API that the client used.

    Returns:
        JSON, with the results by descending log-odds; ties keep the order of the documents.
    """
    best = [max(of_document, key=lambda verdict: verdict.log_odds) for of_document in verdicts]
    order = sorted(range(len(best)), key=lambda index: -best[index].log_odds)[: request.limit]
    if isinstance(request, RerankTexts) and request.texts is not None:
        return to_json([_text_result(request, index, best[index]) for index in order])
    every = [verdict for of_document in verdicts for verdict in of_document]
    tokens = sum(verdict.prompt_tokens for verdict in every)
    return to_json(
        {
            "id": str(uuid.uuid4()),
            "model": model,
            "results": [_result(request, index, best[index]) for index in order],
            "usage": {
                "total_tokens": tokens + sum(verdict.reasoning_tokens for verdict in every),
                "prompt_tokens": tokens,
            },
            "meta": {"api_version": {"version": version}, "billed_units": {"search_units": 1}},
        }
    )


def _result(request: Rerank, index: int, verdict: Verdict) -> dict[str, Any]:
    """One result in the format of Cohere and Jina."""
    result: dict[str, Any] = {"index": index, "relevance_score": verdict.probability}
    if request.return_documents:
        document = request.items[index]
        result["document"] = {"text": document} if isinstance(document, str) else document
    return result | _explanation(request, verdict)


def _text_result(request: RerankTexts, index: int, verdict: Verdict) -> dict[str, Any]:
    """One result in the format of text-embeddings-inference."""
    score = verdict.log_odds if request.raw_scores else verdict.probability
    result: dict[str, Any] = {"index": index, "score": score}
    if request.return_text:
        result["text"] = request.items[index]
    return result | _explanation(request, verdict)


def _explanation(request: Rerank, verdict: Verdict) -> dict[str, Any]:
    return {"log_odds": verdict.log_odds, "reasoning": verdict.reasoning} if request.explain else {}
