"""A sentence-transformers cross-encoder as a system, for comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.checkpoint import fingerprint
from limrank_ir.models import ModelOptions
from limrank_ir.retrieval.encoders import loading, token_counts

from .system import FUSION_WEIGHT, InstructedPair, Scorer, System, Work

CROSS_ENCODER = "cross-encoder:"  # before the folder
CHUNK = 256  # pairs between two steps of the progress bar


def cross_encoder_system(folder: Path, options: ModelOptions) -> System:
    """A cross-encoder in a folder. It reads the query and the passage, not the instruction.

    Args:
        folder: what ``CrossEncoder.save_pretrained`` wrote.
        options: only `device` and `max_length` matter.

    Returns:
        The system.

    Raises:
        InputError: sentence-transformers is not installed, or the folder holds no model.
    """
    name = f"{CROSS_ENCODER}{folder}"
    need(f"--system {name}", "bench", "sentence_transformers")
    if not (folder / "config.json").is_file():
        raise InputError(f"--system {name}: no config.json in {folder}; give the folder of a CrossEncoder")
    limit = options.get("max_length")

    def start() -> Scorer:
        import torch
        from sentence_transformers import CrossEncoder

        with loading(f"--system {name}"):
            model = CrossEncoder(
                str(folder),
                device=options.get("device"),
                local_files_only=True,
                activation_fn=torch.nn.Identity(),  # a sigmoid saturates and makes ties
            )
        if model.num_labels != 1:
            raise InputError(f"--system {name}: has {model.num_labels} labels; give a model with a single score")
        lengths = [length for length in (limit, model.max_length) if length is not None]
        if lengths:
            model.max_length = min(lengths)
        model.predict([("warm-up", "warm-up")], show_progress_bar=False)
        return lambda pairs, advance: _score(model, pairs, advance)

    return System(
        name=name,
        label=folder.resolve().name,
        identity=f"{fingerprint(folder)} max_length={limit}",
        weight=FUSION_WEIGHT,
        adapter=None,
        start=start,
    )


def _score(model: Any, pairs: Sequence[InstructedPair], advance: Callable[[int], None]) -> tuple[list[float], Work]:
    started = time.perf_counter()
    scores: list[float] = []
    for first in range(0, len(pairs), CHUNK):
        chunk = [(query, passage) for query, passage, _ in pairs[first : first + CHUNK]]
        scores += map(float, model.predict(chunk, show_progress_bar=False))
        advance(len(chunk))
    seconds = time.perf_counter() - started
    lengths = token_counts(model.tokenizer, [query for query, _, _ in pairs], [passage for _, passage, _ in pairs])
    limit = model.max_length or max(lengths)
    work = Work(
        pairs=len(pairs),
        judged=len(pairs),
        seconds=seconds,
        tokens=sum(min(length, limit) for length in lengths),
        cut=sum(length > limit for length in lengths),
        cut_tokens=sum(max(length - limit, 0) for length in lengths),
    )
    return scores, work
