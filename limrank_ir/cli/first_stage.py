"""The command line's first stage: BM25, dense, or both by their ranks, over indexes that are kept or made for once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from limrank_ir.cli import console
from limrank_ir.extras import need
from limrank_ir.formats.corpus import Passage, iter_corpus
from limrank_ir.formats.trec import Run, Topic
from limrank_ir.retrieval import bm25 as retrieve
from limrank_ir.retrieval import dense, minilm
from limrank_ir.retrieval.bm25 import Bm25Settings
from limrank_ir.retrieval.dense import DenseSettings

Method = Literal["bm25", "dense", "hybrid"]

PISA = ("pyterrier_pisa",)
DENSE = ("sentence_transformers", "pyterrier_dr", "faiss", "pyterrier_alpha")
DEEPER = 10  # a hybrid fuses lists that are so many times longer than what is asked for, and not below 1,000


def check(method: Method, embedded: DenseSettings) -> None:
    """Make sure that what a method needs is installed.

    Args:
        method: the method.
        embedded: its encoder, if it embeds.

    Raises:
        InputError: something is not.
    """
    if method == "bm25":
        need("retrieve", "pyterrier", *PISA)
        return
    need(f"retrieve --method {method}", "dense", *DENSE, *(PISA if method == "hybrid" else ()))
    if embedded.encoder == minilm.NAME:
        minilm.folder("--encoder minilm")


def search(
    corpus: Path,
    topics: Sequence[Topic],
    method: Method,
    bm25: Bm25Settings,
    embedded: DenseSettings,
    *,
    k: int,
    index: Path | None,
) -> Run:
    """Find candidates.

    Args:
        corpus: the corpus.
        topics: the topics.
        method: ``"bm25"``, ``"dense"``, or ``"hybrid"``: both, fused by their ranks
            (`limrank_ir.retrieval.dense.fused`).
        bm25: how BM25 weights terms.
        embedded: how the dense index embeds and searches.
        k: how many documents of each topic.
        index: keep the index here, and use it when it is there; a hybrid's two go into folders in it.

    Returns:
        The run; an empty list for a topic of which nothing is found.

    Raises:
        InputError: the corpus is wrong, the index is another one's, or as for the methods themselves.
    """
    with tempfile.TemporaryDirectory(prefix="limrank-index-") as temporary:
        place = Path(temporary) if index is None else index
        if method == "bm25":
            return _bm25(corpus, topics, bm25, k, place if index else place / method, keep=index is not None)
        if method == "dense":
            return _dense(corpus, topics, embedded, k, place if index else place / method, keep=index is not None)
        depth = max(1000, DEEPER * k)
        return dense.fused(
            [
                _bm25(corpus, topics, bm25, depth, place / "bm25", keep=index is not None),
                _dense(corpus, topics, embedded, depth, place / "dense", keep=index is not None),
            ],
            k=k,
        )


def _bm25(corpus: Path, topics: Sequence[Topic], bm25: Bm25Settings, k: int, folder: Path, *, keep: bool) -> Run:
    def make(passages: Iterator[Passage], place: Path, advance: Callable[[int], None]) -> None:
        place.mkdir()
        retrieve.build(passages, place, bm25, advance, source=corpus)

    _indexed(corpus, folder, {"stemmer": bm25.stemmer}, make, "indexing", keep=keep)
    run = {}
    with console.progress("searching", len(topics), "queries") as advance:
        for qid, found in retrieve.search(folder, topics, bm25, k=k):
            run[qid] = found
            advance(1)
    return run


def _dense(corpus: Path, topics: Sequence[Topic], embedded: DenseSettings, k: int, folder: Path, *, keep: bool) -> Run:
    def make(passages: Iterator[Passage], place: Path, advance: Callable[[int], None]) -> None:
        dense.build(passages, place, embedded, advance, source=corpus)

    _indexed(corpus, folder, {"encoder": embedded.encoder}, make, "embedding", keep=keep)
    with console.progress("searching", len(topics), "queries") as advance:
        return dense.search(folder, topics, embedded, k=k, advance=advance)


def _indexed(
    corpus: Path,
    folder: Path,
    settings: dict[str, str],
    make: Callable[[Iterator[Passage], Path, Callable[[int], None]], None],
    task: str,
    *,
    keep: bool,
) -> None:
    with console.progress(task, None, "passages") as advance:
        if keep:
            retrieve.keep(corpus, folder, settings, lambda passages, place: make(passages, place, advance))
        else:
            make(iter_corpus(corpus), folder, advance)
