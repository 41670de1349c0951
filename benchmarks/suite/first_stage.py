"""Candidates: the documents of each topic that all rerankers get, and the first stage's ranking of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import iter_corpus
from limrank_ir.formats.trec import read_run, trec_order
from limrank_ir.retrieval.bm25 import Bm25Settings, build, search

from .collection import Collection

Ranking: TypeAlias = dict[str, list[tuple[str, float]]]
"""qid to (docno, score), best first."""

BM25 = Bm25Settings()  # k1 0.9, b 0.4, porter2


def first_stage(collection: Collection, k: int) -> Ranking:
    """Rank the first stage's best documents.

    Args:
        collection: the collection.
        k: how many documents of each topic; those with grades below 0 are taken out before.

    Returns:
        The topics' documents in trec_eval's order. Topics without any are not in it.

    Raises:
        InputError: no topic has a document, or as for `limrank_ir.retrieval.bm25`.
    """
    scored = _STAGES[collection.source](collection, k)
    excluded = collection.excluded
    ranking = {
        qid: trec_order(pair for pair in pairs if (qid, pair[0]) not in excluded)[:k] for qid, pairs in scored.items()
    }
    ranking = {qid: pairs for qid, pairs in ranking.items() if pairs}
    if not ranking:
        raise InputError(
            f"{collection.run or collection.folder}: the first stage has no document for any of "
            f"{len(collection.topics)} topics; check the collection or take more --queries"
        )
    return ranking


def _given(collection: Collection, k: int) -> Ranking:
    """The run that is there."""
    assert collection.run is not None
    run = read_run(collection.run)
    return {qid: [(entry.docno, entry.score) for entry in run[qid]] for qid in collection.topics if qid in run}


def _bm25(collection: Collection, k: int) -> Ranking:
    """BM25 over the corpus, deep enough for what will be taken out."""
    most = max(sum(grade < 0 for grade in row.values()) for row in collection.qrels.values())
    return dict(_searched(collection, k + most))


def _pool(collection: Collection, k: int) -> Ranking:
    """The pool by BM25 (with the corpus's statistics); what BM25 does not find scores 0, so it comes last."""
    pools = _given(collection, k)
    ranking = {}
    for qid, pairs in _searched(collection, collection.documents):
        if qid in pools:
            found = dict(pairs)
            ranking[qid] = [(docno, found.get(docno, 0.0)) for docno, _ in pools[qid]]
    return ranking


_STAGES = {"run": _given, "pool": _pool, "bm25": _bm25}


def _searched(collection: Collection, k: int) -> Iterable[tuple[str, list[tuple[str, float]]]]:
    with tempfile.TemporaryDirectory(prefix="limrank-index-") as folder:
        with console.progress(f"indexing {collection.name}", collection.documents, "passages") as advance:
            build(iter_corpus(collection.folder), Path(folder), BM25, advance, source=collection.folder)
        with console.progress(f"searching {collection.name}", len(collection.topics), "queries") as advance:
            for found in search(Path(folder), collection.topics.values(), BM25, k=k):
                yield found
                advance(1)
