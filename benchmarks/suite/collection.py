"""Test collections on disk: found, read, and checked before anything runs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import iter_corpus
from limrank_ir.formats.files import find
from limrank_ir.formats.trec import Topic, check_writable, read_qrels, read_run, read_topics
from limrank_ir.formats.words import some

from ..fingerprint import fingerprint

log = logging.getLogger("limrank_ir")

CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
TOPICS = ("topics.jsonl", "topics.jsonl.gz")
QRELS = ("qrels.txt", "qrels.txt.gz")
RUN = "run.bm25"
POOLS = ("run.pool", "run.candidates", "run.choices")

CandidateSource = Literal["run", "pool", "bm25"]
"""Where candidates come from: the collection's run, BM25 within its pool of documents, or BM25 over the corpus."""


@dataclass(frozen=True)
class Collection:
    """A test collection and the topics to measure.

    Attributes:
        name: the folder's name.
        folder: where it is.
        documents: documents in the corpus.
        judged: topics that have judgments.
        topics: qid to topic, for the topics to measure: all judged ones, or a sample of them.
        qrels: qid to docno to grade, for these topics. A grade below 0 removes the document from the ranking.
        source: where the candidates come from.
        run: the file with the candidates, or None if BM25 searches the corpus.
        fingerprint: a hash of the files' content, 32 hexadecimal digits.
    """

    name: str
    folder: Path
    documents: int
    judged: int
    topics: Mapping[str, Topic]
    qrels: Mapping[str, Mapping[str, int]]
    source: CandidateSource
    run: Path | None
    fingerprint: str

    @property
    def excluded(self) -> set[tuple[str, str]]:
        """(qid, docno) of the documents to remove from the candidates."""
        return {(qid, docno) for qid, grades in self.qrels.items() for docno, grade in grades.items() if grade < 0}


def read_collections(folders: Sequence[Path], *, queries: int | None = None, seed: int = 0) -> list[Collection]:
    """Read and check collections.

    Args:
        folders: collections, or folders that contain collections.
        queries: how many judged topics to sample from each collection; None: all of them.
        seed: seed of the sample. A larger sample contains the smaller ones with the same seed.

    Returns:
        The collections in the given order; those inside one folder sorted by name.

    Raises:
        InputError: a collection is malformed or incomplete, or two have the same name.
    """
    collections: dict[str, Collection] = {}
    for given in folders:
        for folder in _find(given):
            collection = _read(folder, queries, seed)
            if other := collections.get(collection.name):
                raise InputError(f"{folder}: {other.folder} is also called {collection.name}; rename one of them")
            collections[collection.name] = collection
    return list(collections.values())


def _find(folder: Path) -> list[Path]:
    """The folder itself if it is a collection, otherwise the collections in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give folders with corpus.jsonl, topics.jsonl, and qrels.txt")
    if any((folder / name).is_file() for name in (*CORPUS, *TOPICS, *QRELS)):
        return [folder]
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    collections = [path for path in inside if any((path / name).is_file() for name in QRELS)]
    if not collections:
        raise InputError(f"{folder}: not a collection and contains none (qrels.txt is missing); check the path")
    if skipped := len(inside) - len(collections):
        log.info("%s: %d collections; skipped %d folders without qrels.txt", folder, len(collections), skipped)
    return collections


def _read(folder: Path, queries: int | None, seed: int) -> Collection:
    corpus, topics_file, qrels_file = (find(folder, names) for names in (CORPUS, TOPICS, QRELS))
    topics, qrels = read_topics(topics_file), read_qrels(qrels_file)
    if unknown := [qid for qid in qrels if qid not in topics]:
        raise InputError(
            f"{qrels_file}: {len(unknown)} of {len(qrels)} judged queries are not in {topics_file.name} "
            f"({some(unknown)}); add the topics or remove their judgments"
        )
    judged = [qid for qid in topics if any(grade >= 0 for grade in qrels.get(qid, {}).values())]
    if not any(grade > 0 for grades in qrels.values() for grade in grades.values()):
        raise InputError(f"{qrels_file}: no grade is above 0, so nothing can be measured; add judgments")
    for qid in judged:
        check_writable(topics_file, "qid", qid)
    docnos = set()
    for passage in iter_corpus(corpus):
        check_writable(corpus, "docno", passage.docno)
        docnos.add(passage.docno)
    _check_judgments(qrels_file, qrels, docnos)
    source, run = _find_candidates(folder)
    if run is not None:
        _check_run(run, topics, docnos)
    sample = set(_sample(judged, queries, seed))
    sampled = {qid: topic for qid, topic in topics.items() if qid in sample}
    return Collection(
        name=folder.resolve().name,
        folder=folder,
        documents=len(docnos),
        judged=len(judged),
        topics=sampled,
        qrels={qid: qrels[qid] for qid in sampled},
        source=source,
        run=run,
        fingerprint=fingerprint(file for file in (corpus, topics_file, qrels_file, run) if file is not None),
    )


def _find_candidates(folder: Path) -> tuple[CandidateSource, Path | None]:
    """Where the folder's candidates come from, and the file if there is one."""
    for stem in (RUN, *POOLS):
        for name in (f"{stem}.txt", f"{stem}.txt.gz"):
            if (folder / name).is_file():
                return ("run" if stem == RUN else "pool"), folder / name
    return "bm25", None


def _check_judgments(file: Path, qrels: Mapping[str, Mapping[str, int]], docnos: set[str]) -> None:
    relevant = {docno for grades in qrels.values() for docno, grade in grades.items() if grade > 0}
    missing = sorted(relevant - docnos)
    if len(missing) == len(relevant):
        raise InputError(f"{file}: none of the {len(relevant)} relevant documents is in the corpus; check the docnos")
    if missing:
        log.warning(
            "%s: %d of %d relevant documents are not in the corpus (%s)",
            file,
            len(missing),
            len(relevant),
            some(missing),
        )


def _check_run(file: Path, topics: Mapping[str, Topic], docnos: set[str]) -> None:
    run = read_run(file)
    if unknown := [qid for qid in run if qid not in topics]:
        raise InputError(
            f"{file}: {len(unknown)} of {len(run)} queries are not in the topics ({some(unknown)}); "
            "give the topics of this run"
        )
    documents = dict.fromkeys(entry.docno for entries in run.values() for entry in entries)
    if missing := [docno for docno in documents if docno not in docnos]:
        raise InputError(
            f"{file}: {len(missing)} of {len(documents)} documents are not in the corpus ({some(missing)}); "
            "give the corpus of this run"
        )


def _sample(qids: Sequence[str], count: int | None, seed: int) -> list[str]:
    """Take a random sample: sort by hash, which depends neither on the other queries nor on the version of Python."""
    if count is None or count >= len(qids):
        return list(qids)
    return sorted(qids, key=lambda qid: hashlib.sha256(f"{seed} {qid}".encode()).digest())[:count]
