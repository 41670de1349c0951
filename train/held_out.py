"""Queries that are never trained on, as test collections: what choices about a training run are made with.

A choice that is made on a benchmark makes its figures flattering. So each source sets some queries aside
(`Data.held_out`), and they become one small collection per source: all passages of the source are its corpus. Queries
of the same source that nearly equal one of them are not trained on either; copies in other sources are not looked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.formats.trec import write_qrels
from limrank_ir.workshop.contamination import Benchmarks

from .config import Data
from .derived import places
from .rows import Group, normalized, read_groups


def held_out(groups: Iterable[Group], count: int) -> set[str]:
    """Choose the queries that a source sets aside: those whose SHA-256 is smallest, so that no seed changes them.

    Args:
        groups: the rows of the source.
        count: how many queries to set aside.

    Returns:
        The queries, normalized.
    """
    queries = {normalized(group.query) for group in groups if any(candidate.label for candidate in group.candidates)}
    return set(sorted(queries, key=lambda query: hashlib.sha256(query.encode()).hexdigest())[:count])


def near_copies(groups: Sequence[Group], set_aside: set[str]) -> list[tuple[str, str]]:
    """The queries of a source that contain one of those that it sets aside, or nearly.

    Args:
        groups: the rows of the source.
        set_aside: the result of `held_out`.

    Returns:
        (query, the one that is set aside) for each row, without the rows that are set aside themselves.
    """
    if not set_aside:
        return []
    queries = {group.query: normalized(group.query) in set_aside for group in groups}
    chosen = Benchmarks((query for query, aside in queries.items() if aside), queries)  # a source has its templates
    found = ((group.query, chosen.find(group.query)) for group in groups if not queries[group.query])
    return [(query, theirs) for query, theirs in found if theirs is not None]


def write_collections(data: Data, folder: Path) -> list[Path]:
    """Write the queries that each source sets aside as a test collection.

    Args:
        data: the mixture, with `Data.held_out`.
        folder: where to write; each collection is a folder that is named after its source.

    Returns:
        The collections' folders, each with corpus.jsonl.gz, topics.jsonl.gz, and qrels.txt.

    Raises:
        InputError: nothing is held out, two sources have the same name, or a source cannot be read.
    """
    if not data.held_out:
        raise InputError("data.held_out is 0, so no query is set aside; set it, as in --set data.held_out=20")
    found = places(data, folder)
    for place, source in zip(found, data.sources, strict=True):
        _write_collection(place, read_groups(source.path), data.held_out)
    return found


def _write_collection(place: Path, groups: Sequence[Group], count: int) -> None:
    docnos: dict[str, str] = {}
    for group in groups:
        for candidate in group.candidates:
            docnos.setdefault(candidate.text, f"p{len(docnos)}")
    chosen = held_out(groups, count)
    topics: dict[str, dict[str, str]] = {}
    qrels: dict[str, dict[str, int]] = {}
    for group in groups:
        if (query := normalized(group.query)) not in chosen:
            continue
        qid = f"q{hashlib.sha256(query.encode()).hexdigest()[:10]}"
        topic = {"qid": qid, "query": group.query} | ({"instruction": group.instruction} if group.instruction else {})
        topics.setdefault(qid, topic)
        relevant = {docnos[candidate.text]: 1 for candidate in group.candidates if candidate.label}
        qrels.setdefault(qid, {}).update(relevant)
    _write_lines(place / "corpus.jsonl.gz", ({"docno": docno, "text": text} for text, docno in docnos.items()))
    _write_lines(place / "topics.jsonl.gz", topics.values())
    write_qrels(place / "qrels.txt", qrels)


def _write_lines(path: Path, records: Iterable[Mapping[str, str]]) -> None:
    with replacing(path) as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
