"""Stand-ins for FollowIR that are ordinary collections: what their topics say tells how instructions differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import read_passages
from limrank_ir.formats.files import find, json_records

from ..suite.collection import CORPUS, QRELS, TOPICS, Collection, read_collections
from ..suite.first_stage import first_stage
from ..systems.system import ScoredRun
from .p_mrr import InstructionPair
from .task import InstructionTask, Preference, sample

FACETS = "the same query under two instructions (topics with the same `group`)"
TWINS = "twin queries, each of which the other's passage contradicts (`satisfying`, `violating`)"
EXCLUSIONS = "queries with an exclusion (`formulation`)"

DEPTH = 100  # how deep BM25's strongest rival is looked for


def read_stand_in(folder: Path, *, k: int, queries: int | None = None, seed: int = 0) -> InstructionTask:
    """Read a collection in which instructions or constraints differ.

    What a topic has besides its query decides:

    - ``group``: topics with the same group and query differ in the instruction. Every ordered two of a group are an
      original and a changed instruction. The changed set is FollowIR's: documents that are relevant (grade 1 or more)
      under the first and not relevant (judged 0) under the second. Candidates are the group's pool.
    - ``satisfying`` and ``violating``, docnos: topics whose docnos are each other's are twins. Either of them is the
      original; the changed set is what it is satisfied by. The candidates are the documents judged for the two.
    - ``formulation``: the query excludes something. There is no second instruction, so p-MRR is not defined. Measured
      is whether the relevant passage ranks above its strongest rival: the other passage that BM25 finds best, which
      usually has the excluded words. The rival is not judged.

    Args:
        folder: the collection.
        k: candidates of each query, from BM25's best.
        queries: how many groups, twins, or queries to sample; None: all.
        seed: seed of the sample.

    Returns:
        The task.

    Raises:
        InputError: the collection is malformed, or its topics have none of these fields.
    """
    collection, *others = read_collections([folder])
    if others:
        raise InputError(f"{folder}: holds {1 + len(others)} collections; give them one by one: {folder}/*")
    records = _records(folder)
    if any("group" in record for record in records.values()):
        return _facets(collection, records, k, queries, seed)
    if any("violating" in record for record in records.values()):
        return _twins(collection, records, k, queries, seed)
    if any("formulation" in record for record in records.values()):
        return _exclusions(collection, queries, seed)
    raise InputError(
        f"{folder}: its topics have no group, no satisfying and violating, and no formulation, so that no instruction "
        "changes; give a collection with one of them (docs/followir.md)"
    )


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    """The topics with all their fields."""
    file = find(folder, TOPICS)
    return {str(record.get("qid", record.get("id"))): record for _, record in json_records(file)}


def _files(collection: Collection) -> list[Path]:
    files = [find(collection.folder, names) for names in (CORPUS, TOPICS, QRELS)]
    return files if collection.run is None else [*files, collection.run]


def _facets(
    collection: Collection, records: Mapping[str, Mapping[str, Any]], k: int, queries: int | None, seed: int
) -> InstructionTask:
    groups: dict[tuple[str, str], list[str]] = {}
    for qid, topic in collection.topics.items():
        if "group" in records[qid]:
            groups.setdefault((str(records[qid]["group"]), topic.query), []).append(qid)
    several = {group: qids for group, qids in groups.items() if len(qids) > 1}
    chosen = sample(list(several), queries, seed)
    if not chosen:
        raise InputError(f"{collection.folder}: no two topics share group and query, so that no instruction changes")
    pairs = []
    for group in chosen:
        for original, changed in permutations(several[group], 2):
            documents = _fallen(collection.qrels[original], collection.qrels[changed])
            pairs.append(InstructionPair(f"{original} to {changed}", original, changed, documents))
    found = _first_stage(collection, k if collection.run is None else collection.documents)
    ranked = {}  # a group's candidates are those of its first topic: BM25 reads the query, which they share
    for group in chosen:
        if several[group][0] not in found:
            raise InputError(f"{collection.folder}: {several[group][0]!r} has no candidates; add them to the pool")
        ranked.update(dict.fromkeys(several[group], found[several[group][0]]))
    return _task(collection, FACETS, ranked, k, pairs=pairs)


def _fallen(original: Mapping[str, int], changed: Mapping[str, int]) -> tuple[str, ...]:
    """Documents that are relevant under one instruction and judged not to be under the other."""
    return tuple(docno for docno, grade in original.items() if grade > 0 and changed.get(docno) == 0)


def _twins(
    collection: Collection, records: Mapping[str, Mapping[str, Any]], k: int, queries: int | None, seed: int
) -> InstructionTask:
    by_documents: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}
    for qid in collection.topics:
        satisfying, violating = (_docnos(collection, qid, records[qid], name) for name in ("satisfying", "violating"))
        by_documents[satisfying, violating] = qid
    twins = []
    for (satisfying, violating), qid in by_documents.items():
        other = by_documents.get((violating, satisfying))
        if other is not None and (other, qid) not in twins:
            twins.append((qid, other))
    if not twins:
        raise InputError(
            f"{collection.folder}: no topic is satisfied by what violates another; check satisfying, violating"
        )
    chosen = sample(twins, queries, seed)
    documents = {qid: found for (found, _), qid in by_documents.items()}
    pairs, preferences, ranked = [], [], {}
    for twin in chosen:
        pool = dict.fromkeys(docno for qid in twin for docno in collection.qrels[qid])
        for original, changed in (twin, twin[::-1]):
            pairs.append(InstructionPair(f"{original} to {changed}", original, changed, documents[original]))
            preferences += [
                Preference(original, better, worse, changed)
                for better, worse in product(documents[original], documents[changed])
            ]
            ranked[original] = [(docno, 0.0) for docno in pool]
    return _task(collection, TWINS, ranked, k, pairs=pairs, preferences=preferences, ordered=False)


def _docnos(collection: Collection, qid: str, record: Mapping[str, Any], name: str) -> tuple[str, ...]:
    docnos = record.get(name)
    if not isinstance(docnos, list) or not docnos or not all(isinstance(docno, str) for docno in docnos):
        raise InputError(f"{collection.folder}: topic {qid!r}: {name} is not a list of docnos; name the passages")
    if unjudged := [docno for docno in docnos if docno not in collection.qrels[qid]]:
        raise InputError(
            f"{collection.folder}: topic {qid!r}: {name} {unjudged[0]!r} has no judgment; add it to the qrels"
        )
    return tuple(docnos)


def _exclusions(collection: Collection, queries: int | None, seed: int) -> InstructionTask:
    found = _first_stage(collection, DEPTH)
    preferences, ranked = [], {}
    for qid in sample(list(collection.topics), queries, seed):
        relevant = {docno for docno, grade in collection.qrels[qid].items() if grade > 0}
        scores = dict(found.get(qid, ()))
        rival = next((docno for docno in scores if docno not in relevant), None)
        if rival is None or len(relevant) != 1:
            continue
        (better,) = relevant
        preferences.append(Preference(qid, better, rival))
        ranked[qid] = [(docno, scores.get(docno, 0.0)) for docno in (better, rival)]
    if not preferences:
        raise InputError(f"{collection.folder}: no query with one relevant passage has a rival; check the collection")
    return _task(collection, EXCLUSIONS, ranked, 2, preferences=preferences)


def _first_stage(collection: Collection, k: int) -> ScoredRun:
    if collection.source != "run":
        need("bench followir", "bench", "pyterrier_pisa")
    return first_stage(collection, k)


def _task(
    collection: Collection,
    kind: str,
    ranked: Mapping[str, Sequence[tuple[str, float]]],
    k: int,
    *,
    pairs: Sequence[InstructionPair] = (),
    preferences: Sequence[Preference] = (),
    ordered: bool = True,
) -> InstructionTask:
    candidates = {qid: [docno for docno, _ in documents[:k]] for qid, documents in ranked.items()}
    return InstructionTask(
        name=collection.name,
        kind=kind,
        topics={qid: collection.topics[qid] for qid in ranked},
        passages=read_passages(collection.folder, dict.fromkeys(d for found in candidates.values() for d in found)),
        candidates=candidates,
        given=max(map(len, ranked.values())),
        qrels={qid: collection.qrels[qid] for qid in ranked},
        pairs=pairs,
        preferences=preferences,
        files=_files(collection),
        first_stage={qid: list(documents[:k]) for qid, documents in ranked.items()} if ordered else {},
    )
