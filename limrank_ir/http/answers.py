"""What clients get: verdicts in the shapes of Cohere, Jina and text-embeddings-inference."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from limrank_ir.http.requests import Rerank, RerankTexts
from limrank_ir.verdict import Verdict


def write(asked: Rerank, judged: Sequence[Sequence[Verdict]], model: str, version: str) -> bytes:
    """Write an answer.

    Args:
        asked: the request.
        judged: for each of its documents the verdict, or those of its windows, of which the best one counts.
        model: the model's name.
        version: the version of Cohere's API that was asked for.

    Returns:
        JSON: the results in the order of the log-odds, equal ones in the order of the documents.
    """
    verdicts = [max(of_document, key=lambda verdict: verdict.log_odds) for of_document in judged]
    order = sorted(range(len(verdicts)), key=lambda index: -verdicts[index].log_odds)[: asked.most]
    if isinstance(asked, RerankTexts) and asked.texts is not None:
        return to_json([_scored(asked, index, verdicts[index]) for index in order])
    read = [verdict for of_document in judged for verdict in of_document]
    tokens = sum(verdict.prompt_tokens for verdict in read)
    return to_json(
        {
            "id": str(uuid.uuid4()),
            "model": model,
            "results": [_result(asked, index, verdicts[index]) for index in order],
            "usage": {
                "total_tokens": tokens + sum(verdict.reasoning_tokens for verdict in read),
                "prompt_tokens": tokens,
            },
            "meta": {"api_version": {"version": version}, "billed_units": {"search_units": 1}},
        }
    )


def _result(asked: Rerank, index: int, verdict: Verdict) -> dict[str, Any]:
    """A result as Cohere and Jina write it."""
    result: dict[str, Any] = {"index": index, "relevance_score": verdict.probability}
    if asked.return_documents:
        document = asked.given[index]
        result["document"] = {"text": document} if isinstance(document, str) else document
    return result | _reasons(asked, verdict)


def _scored(asked: RerankTexts, index: int, verdict: Verdict) -> dict[str, Any]:
    """A result as text-embeddings-inference writes it."""
    result: dict[str, Any] = {"index": index, "score": verdict.log_odds if asked.raw_scores else verdict.probability}
    if asked.return_text:
        result["text"] = asked.given[index]
    return result | _reasons(asked, verdict)


def _reasons(asked: Rerank, verdict: Verdict) -> dict[str, Any]:
    return {"log_odds": verdict.log_odds, "reasoning": verdict.reasoning} if asked.explain else {}
