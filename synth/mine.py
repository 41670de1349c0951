"""Hard negatives from your own corpus: retrieved, then graded by the judge for soft labels (CoRNStack, UniME-V2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .ask import Ask, StageOutcome, each
from .config import SynthConfig
from .filters.hardness import Retrieve, bm25, dense
from .judging import grade
from .pipeline import Progress
from .records import Record
from .templates import read_prompts

POSITIVE = 0.75
"""Passages with a mean grade of at least 3 of 4 are relevant. The others keep their grade as a soft label."""


class Graded(Record):
    """A passage of the corpus and its mean grade for a query, from 0 to 1."""

    qid: str
    query: str
    docno: str
    passage: str
    grade: float


async def mine(
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    config: SynthConfig,
    ask: Ask,
    *,
    depth: int,
    progress: Progress,
    retrievers: Sequence[Retrieve] = (bm25, dense),
) -> StageOutcome[Graded]:
    """Grade the best passages of a corpus for each query.

    Args:
        queries: qid to query.
        corpus: docno to text.
        config: the judge.
        ask: gets answers.
        depth: how many of each retriever's best passages to grade.
        progress: shows the progress.
        retrievers: what finds the passages. A passage that two of them find is graded once.

    Returns:
        The graded passages by query, ordered by id.
    """
    found: dict[str, set[str]] = {qid: set() for qid in queries}
    for retrieve in retrievers:
        for qid, ranks in retrieve(queries, corpus, depth).items():
            found[qid] |= {docno for docno, rank in ranks.items() if rank <= depth}
    pairs = [(qid, docno) for qid, docnos in found.items() for docno in sorted(docnos)]

    prompts = read_prompts(config.prompts)

    async def one(pair: tuple[str, str]) -> Graded:
        qid, docno = pair
        value = await grade(queries[qid], corpus[docno], config, prompts, ask)
        return Graded(qid=qid, query=queries[qid], docno=docno, passage=corpus[docno], grade=value)

    with progress("grades", len(pairs)) as done:
        return await each(pairs, one, done)


def groups(graded: Sequence[Graded], license: str | None = None) -> list[dict[str, Any]]:
    """Turn graded passages into training rows: groups with soft labels, for the objective ``graded``.

    Args:
        graded: the graded passages.
        license: of the rows; None: not stated.

    Returns:
        ``{qid, query, pos, neg, grades}``, and the license if there is one, for each query with both a relevant passage
        and another one.
    """
    by_query: dict[str, list[Graded]] = {}
    for one in graded:
        by_query.setdefault(one.qid, []).append(one)
    rows = []
    for qid, found in by_query.items():
        positive = [one for one in found if one.grade >= POSITIVE]
        others = sorted((one for one in found if one.grade < POSITIVE), key=lambda one: one.grade)
        if positive and others:
            rows.append(
                {
                    "qid": qid,
                    "query": found[0].query,
                    "pos": [one.passage for one in positive],
                    "neg": [one.passage for one in others],
                    "grades": [one.grade for one in (*positive, *others)],
                    **({} if license is None else {"license": license}),
                }
            )
    return rows
