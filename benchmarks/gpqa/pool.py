"""The user's pool of passages: streamed, without copies, and searched with BM25 as in the released scripts."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import Passage, iter_corpus
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import check_writable

from ..systems.system import ScoredRun

log = logging.getLogger("limrank_ir")


def pool_files(path: Path) -> list[Path]:
    """The files of a pool.

    Args:
        path: a corpus file, a folder with ``corpus.jsonl``, or a folder of JSONL files.

    Returns:
        The files, sorted by name.

    Raises:
        InputError: there are none.
    """
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"--pool {path}: no such file or folder; check the path")
        return [path]
    corpus = [path / name for name in ("corpus.jsonl", "corpus.jsonl.gz") if (path / name).is_file()]
    files = corpus[:1] or sorted(file for pattern in ("*.jsonl", "*.jsonl.gz") for file in path.glob(pattern))
    if not files:
        raise InputError(f"--pool {path}: the folder has no .jsonl or .jsonl.gz file; name the file itself")
    return files


def iter_pool(files: Sequence[Path], canaries: Collection[str], left_out: Counter[str]) -> Iterator[Passage]:
    """Stream the passages to search.

    Passages without text, copies of an earlier passage (as in the released pool), and passages with the canary string
    of the questions, which are copies of the benchmark, are left out.

    Args:
        files: from `pool_files`.
        canaries: ids of canary strings, in lower case.
        left_out: counts why passages were left out.

    Yields:
        The passages, in the order of the files.

    Raises:
        InputError: as for `limrank_ir.formats.corpus.iter_corpus`, or two files have the same docno.
    """
    seen: set[bytes] = set()
    docnos: set[str] = set()
    for file in files:
        for passage in iter_corpus(file):
            check_writable(file, "docno", passage.docno)
            if passage.docno in docnos:
                raise InputError(f"{file}: docno {passage.docno!r} is also in another file; give every passage its own")
            docnos.add(passage.docno)
            text = passage.reader_text
            digest = hashlib.sha256(text.encode()).digest()[:16]
            if not text.strip():
                left_out["without text"] += 1
            elif digest in seen:
                left_out["copies of others"] += 1
            elif canaries and any(canary in text.lower() for canary in canaries):
                left_out["with the canary string"] += 1
            else:
                seen.add(digest)
                yield passage


def search(files: Sequence[Path], topics: Sequence[Topic], canaries: Collection[str], *, k: int) -> ScoredRun:
    """Search the pool with BM25: bm25s with its defaults, English stopwords, and no stemmer.

    This is what ``SighingSnow/limrank: limrank-gpqa/retrieve/bm25.py`` does.

    Args:
        files: from `pool_files`. Their tokens are kept in memory, not their texts.
        topics: the queries.
        canaries: ids of canary strings.
        k: passages for each query.

    Returns:
        qid to (docno, score), best first. A passage that no word matches may be among them, with score 0.

    Raises:
        InputError: bm25s is not installed, the pool is malformed, or it has no word.
    """
    need("bench gpqa", "bench", "bm25s")
    import bm25s  # type: ignore[import-untyped]

    docnos: list[str] = []
    left_out: Counter[str] = Counter()

    def texts() -> Iterator[str]:
        with console.progress("reading the pool", None, "passages") as advance:
            for passage in iter_pool(files, canaries, left_out):
                docnos.append(passage.docno)
                advance(1)
                yield passage.reader_text

    tokens = bm25s.tokenize(texts(), stopwords="en", show_progress=False)
    if left_out:
        log.info("passages left out of the pool: %s", ", ".join(f"{count:,} {why}" for why, count in left_out.items()))
    if not tokens.vocab:
        raise InputError(f"--pool {files[0].parent}: no passage has a word; check the files")
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    queries = bm25s.tokenize([topic.query for topic in topics], stopwords="en", show_progress=False)
    found, scores = index.retrieve(queries, k=min(k, len(docnos)), show_progress=False)
    return {
        topic.qid: [(docnos[place], float(score)) for place, score in zip(places, row, strict=True)]
        for topic, places, row in zip(topics, found.tolist(), scores.tolist(), strict=True)
    }


def read_pool(files: Sequence[Path], docnos: Collection[str]) -> dict[str, Passage]:
    """Read some passages; the others are not kept in memory.

    Args:
        files: from `pool_files`.
        docnos: the passages to read.

    Returns:
        docno to passage.
    """
    wanted = set(docnos)
    return {passage.docno: passage for file in files for passage in iter_corpus(file) if passage.docno in wanted}
