"""Drop near-duplicates: MinHash over word 3-grams (datasketch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..words import ngrams
from . import Sifted, sift

T = TypeVar("T")
PERMUTATIONS = 128


def different(records: Sequence[T], text: Callable[[T], str], *, similarity: float) -> Sifted[T]:
    """Keep the first of several near-duplicates.

    Args:
        records: the records.
        text: gives the text of a record.
        similarity: the estimated Jaccard similarity of word 3-grams from which two texts count as duplicates.
    """
    from datasketch import MinHash, MinHashLSH

    # The index proposes candidates generously; the sketches decide.
    index = MinHashLSH(threshold=max(0.1, min(similarity, 0.9) - 0.1), num_perm=PERMUTATIONS)
    seen: dict[str, Any] = {}

    def reason(record: T) -> str | None:
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([" ".join(gram).encode() for gram in set(ngrams(text(record), 3))])
        if any(sketch.jaccard(seen[name]) >= similarity for name in index.query(sketch)):
            return "nearly the same as another"
        name = str(len(seen))
        seen[name] = sketch
        index.insert(name, sketch)
        return None

    return sift(records, reason)
