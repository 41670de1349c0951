"""LitSearch (arXiv 2407.18940): questions of researchers and the papers that answer them, read in the hub's layout."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.words import some

from ..parquet import from_hub, shards, stream

log = logging.getLogger("limrank_ir")

REPOSITORY = "princeton-nlp/LitSearch"
REVISION = "9573fb284a1026c998df47024b888a163f0f0e25"  # the one that mteb's LitSearchRetrieval names
QUERY, CORPUS = "query", "corpus_clean"
MOSTLY = 0.9  # of the relevant papers must be in the corpus


@dataclass(frozen=True)
class LitSearch:
    """The data set, without the papers' texts.

    Attributes:
        topics: qid to question; ids as in mteb: ``q1`` is the first row of the configuration ``query``.
        relevant: qid to the docnos of its papers, in the data set's order; ``d`` and the corpusid, as in mteb.
        query_sets: qid to where the question comes from, such as ``manual_acl``.
        broad: the qids of broad questions (specificity 0); the others are specific.
        papers: the Parquet files of the corpus.
        count: the number of papers.
        files: all files.
        source: the pinned revision, or the folder.
    """

    topics: dict[str, Topic]
    relevant: dict[str, list[str]]
    query_sets: dict[str, str]
    broad: frozenset[str]
    papers: list[Path]
    count: int
    files: list[Path]
    source: str


def read_litsearch(folder: Path | None) -> LitSearch:
    """Read the questions, and check the corpus against them.

    Args:
        folder: a copy in the hub's layout (``query/*.parquet``, ``corpus_clean/*.parquet``), or None for the hub.

    Returns:
        The data set.

    Raises:
        InputError: it cannot be had, is malformed, or is not complete.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"--data {folder}: no such folder; give a copy of {REPOSITORY}")
    patterns = [f"{name}/*.parquet" for name in (QUERY, CORPUS)]
    place = from_hub(REPOSITORY, REVISION, patterns) if folder is None else folder
    queries, papers = shards(place, QUERY), shards(place, CORPUS)
    topics: dict[str, Topic] = {}
    relevant: dict[str, list[str]] = {}
    query_sets: dict[str, str] = {}
    broad = set()
    columns = ["query_set", "query", "specificity", "corpusids"]
    for number, row in enumerate(_rows(queries, columns), 1):
        qid = f"q{number}"
        if not (row["query"] or "").strip() or not row["corpusids"] or row["specificity"] not in (0, 1):
            raise InputError(
                f"{queries[0]}: row {number} has no query, no corpusids, or a specificity other than 0 and 1; get the "
                "data set again"
            )
        topics[qid] = Topic(qid, row["query"])
        relevant[qid] = list(dict.fromkeys(f"d{corpusid}" for corpusid in row["corpusids"]))
        query_sets[qid] = row["query_set"] or "unknown"
        if row["specificity"] == 0:
            broad.add(qid)
    if not topics:
        raise InputError(f"{queries[0]}: no queries; get the data set again")
    docnos = {f"d{row['corpusid']}" for row in _rows(papers, ["corpusid"])}
    wanted = {docno for found in relevant.values() for docno in found}
    if missing := sorted(wanted - docnos):
        message = f"{len(missing)} of {len(wanted)} relevant papers are not in the corpus ({some(missing)})"
        if len(missing) > (1 - MOSTLY) * len(wanted):
            raise InputError(f"{place}: {message}; it is not complete, or queries and corpus are of two revisions")
        log.warning("%s: %s; they count as not found", place, message)
    source = f"{REPOSITORY}@{REVISION}" if folder is None else str(folder)
    return LitSearch(topics, relevant, query_sets, frozenset(broad), papers, len(docnos), [*queries, *papers], source)


def _rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    return (row for file in files for row in stream(file, columns))


def iter_papers(data: LitSearch) -> Iterator[Passage]:
    """Stream the papers: title and abstract, joined as mteb joins them; the full text is never read.

    Args:
        data: the data set.

    Yields:
        The papers, each corpusid once.
    """
    seen = set()
    for row in _rows(data.papers, ["corpusid", "title", "abstract"]):
        docno = f"d{row['corpusid']}"
        if docno not in seen:
            seen.add(docno)
            yield Passage(docno, " ".join(filter(None, (row["title"], row["abstract"]))).strip())


def read_papers(data: LitSearch, docnos: Collection[str]) -> dict[str, Passage]:
    """Read some papers. The others are not kept in memory.

    Args:
        data: the data set.
        docnos: the papers to read.

    Returns:
        docno to paper.

    Raises:
        InputError: one is not in the corpus.
    """
    wanted = set(docnos)
    found = {paper.docno: paper for paper in iter_papers(data) if paper.docno in wanted}
    if missing := sorted(wanted - found.keys()):
        raise InputError(
            f"{len(missing)} of {len(wanted)} documents of the first stage are not in LitSearch's corpus "
            f"({some(missing)}); ids are d and the corpusid"
        )
    return found
