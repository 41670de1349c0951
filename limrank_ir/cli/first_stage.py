"""The command line's first stage: BM25, dense, or both with rank fusion, over saved or temporary indexes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from limrank_ir.cli import console
from limrank_ir.extras import need
from limrank_ir.formats.corpus import Passage, iter_corpus
from limrank_ir.formats.trec import Run, Topic
from limrank_ir.ranking.fusion import fuse_runs
from limrank_ir.retrieval import bm25, dense, minilm
from limrank_ir.retrieval.bm25 import Bm25Settings
from limrank_ir.retrieval.dense import DenseSettings

Method = Literal["bm25", "dense", "hybrid"]
Make = Callable[[Iterator[Passage], Path, Callable[[int], None]], None]
"""Builds an index of passages in a folder, and reports progress."""

BM25_PACKAGES = ("pyterrier_pisa",)
DENSE_PACKAGES = ("sentence_transformers", "pyterrier_dr", "faiss")
# Hybrid fuses lists this many times longer than the result, and never shorter than the minimum.
HYBRID_DEPTH = 10
MIN_HYBRID_DEPTH = 1000


def check(method: Method, dense_settings: DenseSettings) -> None:
    """Make sure that everything a method needs is installed.

    Args:
        method: the method.
        dense_settings: the encoder, for the methods that use one.

    Raises:
        InputError: something is missing.
    """
    if method == "bm25":
        need("retrieve", "pyterrier", *BM25_PACKAGES)
        return
    need(f"retrieve --method {method}", "dense", *DENSE_PACKAGES, *(BM25_PACKAGES if method == "hybrid" else ()))
    if dense_settings.encoder == minilm.NAME:
        minilm.folder("--encoder minilm")


def search(
    corpus: Path,
    topics: Sequence[Topic],
    method: Method,
    bm25_settings: Bm25Settings,
    dense_settings: DenseSettings,
    *,
    k: int,
    index: Path | None,
) -> Run:
    """Find candidates.

    Args:
        corpus: the corpus.
        topics: the topics.
        method: ``"bm25"``, ``"dense"``, or ``"hybrid"``: both, fused by their ranks
            (`limrank_ir.ranking.fusion.fuse_runs`).
        bm25_settings: how BM25 weights terms.
        dense_settings: how the dense index embeds and searches.
        k: the number of documents per topic.
        index: folder to save the index in, or to reuse it from (hybrid uses a subfolder for each of its two); None
            builds a temporary index.

    Returns:
        The run, with an empty list for topics without a match.

    Raises:
        InputError: the corpus is bad, the folder holds another index, or the method itself fails.
    """
    with tempfile.TemporaryDirectory(prefix="limrank-index-") as temporary:
        save = index is not None
        if method == "hybrid":
            folder = Path(temporary) if index is None else index
            depth = max(MIN_HYBRID_DEPTH, HYBRID_DEPTH * k)
            runs = {
                "bm25": _search_bm25(corpus, topics, bm25_settings, depth, folder / "bm25", save=save),
                "dense": _search_dense(corpus, topics, dense_settings, depth, folder / "dense", save=save),
            }
            scores = {name: {qid: dict(found) for qid, found in run.items()} for name, run in runs.items()}
            fused = fuse_runs(scores, method="rrf", k=k).run
            return {topic.qid: fused.get(topic.qid, []) for topic in topics}
        folder = Path(temporary, "index") if index is None else index
        if method == "bm25":
            return _search_bm25(corpus, topics, bm25_settings, k, folder, save=save)
        return _search_dense(corpus, topics, dense_settings, k, folder, save=save)


def _search_bm25(
    corpus: Path, topics: Sequence[Topic], settings: Bm25Settings, k: int, folder: Path, *, save: bool
) -> Run:
    def make(passages: Iterator[Passage], target: Path, advance: Callable[[int], None]) -> None:
        target.mkdir()
        bm25.build(passages, target, settings, advance, source=corpus)

    _make_index(corpus, folder, {"stemmer": settings.stemmer}, make, "indexing", save=save)
    run = {}
    with console.progress("searching", len(topics), "queries") as advance:
        for qid, found in bm25.search(folder, topics, settings, k=k):
            run[qid] = found
            advance(1)
    return run


def _search_dense(
    corpus: Path, topics: Sequence[Topic], settings: DenseSettings, k: int, folder: Path, *, save: bool
) -> Run:
    def make(passages: Iterator[Passage], target: Path, advance: Callable[[int], None]) -> None:
        dense.build(passages, target, settings, advance, source=corpus)

    _make_index(corpus, folder, {"encoder": settings.encoder}, make, "embedding", save=save)
    with console.progress("searching", len(topics), "queries") as advance:
        return dense.search(folder, topics, settings, k=k, advance=advance)


def _make_index(corpus: Path, folder: Path, settings: dict[str, str], make: Make, task: str, *, save: bool) -> None:
    with console.progress(task, None, "passages") as advance:
        if save:
            bm25.ensure_index(corpus, folder, settings, lambda passages, target: make(passages, target, advance))
        else:
            make(iter_corpus(corpus), folder, advance)
