"""Test collections on disk: found, read and checked before anything runs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import iter_corpus
from limrank_ir.formats.files import find
from limrank_ir.formats.trec import Topic, check_writable, read_qrels, read_run, read_topics
from limrank_ir.formats.words import some

log = logging.getLogger("limrank_ir")

CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
TOPICS = ("topics.jsonl", "topics.jsonl.gz")
QRELS = ("qrels.txt", "qrels.txt.gz")
POOLS = ("run.pool", "run.candidates", "run.choices")

Source = Literal["run", "pool", "bm25"]
"""Where candidates come from: a run that is there, BM25 within a pool of documents, or BM25 over the corpus."""


@dataclass(frozen=True)
class Collection:
    """A test collection, with the topics that are measured.

    Attributes:
        name: the folder's name.
        folder: where it is.
        documents: documents in the corpus.
        judged: topics that have judgments.
        topics: qid to topic, those that are measured: all judged ones, or a sample of them.
        qrels: qid to docno to grade, of these topics; a grade below 0 takes the document out of the ranking.
        source: where the candidates come from.
        run: the file with them, or None where BM25 searches the corpus.
        fingerprint: names the files' content, 32 hexadecimal digits.
    """

    name: str
    folder: Path
    documents: int
    judged: int
    topics: Mapping[str, Topic]
    qrels: Mapping[str, Mapping[str, int]]
    source: Source
    run: Path | None
    fingerprint: str

    @property
    def excluded(self) -> set[tuple[str, str]]:
        """(qid, docno) of the documents that leave the candidates."""
        return {(qid, docno) for qid, row in self.qrels.items() for docno, grade in row.items() if grade < 0}


def read_collections(folders: Sequence[Path], *, queries: int | None = None, seed: int = 0) -> list[Collection]:
    """Read and check collections.

    Args:
        folders: folders of collections, or folders that hold such folders.
        queries: how many judged topics of each collection to take; None: all.
        seed: of the sample. A larger sample holds the smaller ones of the same seed.

    Returns:
        The collections, in the given order, those of one folder by name.

    Raises:
        InputError: something in a collection is wrong or missing, or two have the same name.
    """
    collections: dict[str, Collection] = {}
    for folder in [found for given in folders for found in _found(given)]:
        collection = _read(folder, queries, seed)
        if other := collections.get(collection.name):
            raise InputError(f"{folder}: {other.folder} is called {collection.name}, too; rename one of them")
        collections[collection.name] = collection
    return list(collections.values())


def _found(folder: Path) -> list[Path]:
    """The folder itself if it is a collection, else the collections in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give folders with corpus.jsonl, topics.jsonl and qrels.txt")
    if any((folder / name).is_file() for name in (*CORPUS, *TOPICS, *QRELS)):
        return [folder]
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    collections = [path for path in inside if any((path / name).is_file() for name in QRELS)]
    if not collections:
        raise InputError(f"{folder}: no collection, and none in its folders: qrels.txt is missing; check the path")
    if others := len(inside) - len(collections):
        log.info("%s: %d collections; %d folders without qrels.txt are left out", folder, len(collections), others)
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
    if not any(grade > 0 for row in qrels.values() for grade in row.values()):
        raise InputError(f"{qrels_file}: no grade above 0, so nothing can be found; add judgments")
    for qid in judged:
        check_writable(topics_file, "qid", qid)
    docnos = set()
    for passage in iter_corpus(corpus):
        check_writable(corpus, "docno", passage.docno)
        docnos.add(passage.docno)
    _check_judgments(qrels_file, qrels, docnos)
    source, run = _candidates(folder)
    if run is not None:
        _check_run(run, topics, docnos)
    sampled = set(_sample(judged, queries, seed))
    kept = {qid: topic for qid, topic in topics.items() if qid in sampled}
    return Collection(
        name=folder.resolve().name,
        folder=folder,
        documents=len(docnos),
        judged=len(judged),
        topics=kept,
        qrels={qid: qrels[qid] for qid in kept},
        source=source,
        run=run,
        fingerprint=_fingerprint(file for file in (corpus, topics_file, qrels_file, run) if file is not None),
    )


def _candidates(folder: Path) -> tuple[Source, Path | None]:
    """Which first stage the folder's runs make."""
    for stem in ("run.bm25", *POOLS):
        for name in (f"{stem}.txt", f"{stem}.txt.gz"):
            if (folder / name).is_file():
                return ("pool" if stem in POOLS else "run"), folder / name
    return "bm25", None


def _check_judgments(file: Path, qrels: Mapping[str, Mapping[str, int]], docnos: set[str]) -> None:
    relevant = {docno for row in qrels.values() for docno, grade in row.items() if grade > 0}
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
            "give the topics that the run was made with"
        )
    documents = dict.fromkeys(entry.docno for entries in run.values() for entry in entries)
    if missing := [docno for docno in documents if docno not in docnos]:
        raise InputError(
            f"{file}: {len(missing)} of {len(documents)} documents are not in the corpus ({some(missing)}); "
            "give the corpus that they come from"
        )


def _sample(qids: Sequence[str], count: int | None, seed: int) -> list[str]:
    """Take some at random: by the order of their hashes, which no other query and no version of Python changes."""
    if count is None or count >= len(qids):
        return list(qids)
    return sorted(qids, key=lambda qid: hashlib.sha256(f"{seed} {qid}".encode()).digest())[:count]


def _fingerprint(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]
