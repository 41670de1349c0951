"""The first stage: the candidates that all rerankers get for each topic, and its own ranking of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import iter_corpus
from limrank_ir.formats.trec import read_run, trec_order
from limrank_ir.retrieval.bm25 import Bm25Settings, build, search

from ..systems.system import ScoredRun
from .collection import Collection

BM25 = Bm25Settings()  # k1 0.9, b 0.4, porter2


def first_stage(collection: Collection, k: int) -> ScoredRun:
    """Rank each topic's candidates.

    Args:
        collection: the collection.
        k: how many documents for each topic. Documents with a grade below 0 are removed first.

    Returns:
        The best documents of each topic in trec_eval's order, without topics that have none.

    Raises:
        InputError: no topic has a document, or as for `limrank_ir.retrieval.bm25`.
    """
    if collection.source == "run":
        scored = _from_run(collection)
    elif collection.source == "pool":
        scored = _from_pool(collection)
    else:
        scored = _from_corpus(collection, k)
    excluded = collection.excluded
    ranked: ScoredRun = {}
    for qid, documents in scored.items():
        best = trec_order(document for document in documents if (qid, document[0]) not in excluded)[:k]
        if best:
            ranked[qid] = best
    if not ranked:
        raise InputError(
            f"{collection.run or collection.folder}: the first stage has no document for any of "
            f"{len(collection.topics)} topics; check the collection, or raise --queries"
        )
    return ranked


def _from_run(collection: Collection) -> ScoredRun:
    """The collection's own run."""
    assert collection.run is not None
    run = read_run(collection.run)
    return {qid: [(entry.docno, entry.score) for entry in run[qid]] for qid in collection.topics if qid in run}


def _from_corpus(collection: Collection, k: int) -> ScoredRun:
    """BM25 over the corpus, deep enough to make up for documents that are removed."""
    most_removed = max(sum(grade < 0 for grade in grades.values()) for grades in collection.qrels.values())
    return dict(_search(collection, k + most_removed))


def _from_pool(collection: Collection) -> ScoredRun:
    """BM25 within the pool, with the corpus's statistics. What BM25 does not find scores 0 and so comes last."""
    pools = _from_run(collection)
    scored: ScoredRun = {}
    for qid, documents in _search(collection, collection.documents):
        if qid in pools:
            found = dict(documents)
            scored[qid] = [(docno, found.get(docno, 0.0)) for docno, _ in pools[qid]]
    return scored


def _search(collection: Collection, k: int) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    with tempfile.TemporaryDirectory(prefix="limrank-index-") as folder:
        with console.progress(f"indexing {collection.name}", collection.documents, "passages") as advance:
            build(iter_corpus(collection.folder), Path(folder), BM25, advance, source=collection.folder)
        with console.progress(f"searching {collection.name}", len(collection.topics), "queries") as advance:
            for found in search(Path(folder), collection.topics.values(), BM25, k=k):
                yield found
                advance(1)
