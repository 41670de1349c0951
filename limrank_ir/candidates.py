"""Candidates: what a reranker is to judge (a run, topics and a corpus put together), and the verdicts on it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from limrank_ir.corpus import read_passages
from limrank_ir.errors import LimRankError
from limrank_ir.files import rows
from limrank_ir.output import opened, some
from limrank_ir.trec import Topic, check_writable, columns, read_run, read_topics, trec_order
from limrank_ir.verdict import Verdict

log = logging.getLogger("limrank_ir")

Ranking: TypeAlias = dict[str, list[tuple[str, Verdict]]]
"""qid to (docno, verdict), best first."""


@dataclass(frozen=True)
class Candidates:
    """The documents to rerank.

    Attributes:
        docnos: qid to its documents in the first stage's order; queries in the order of the run.
        topics: the topics of these queries, at least.
        texts: docno to what the reranker reads.
    """

    docnos: Mapping[str, Sequence[str]]
    topics: Mapping[str, Topic]
    texts: Mapping[str, str]

    def pairs(self) -> list[tuple[str, str, str | None]]:
        """(query, passage, instruction) of every document, as `limrank_ir.LimRank.judge` takes them."""
        return [
            (self.topics[qid].query, self.texts[docno], self.topics[qid].instruction)
            for qid, docnos in self.docnos.items()
            for docno in docnos
        ]

    def ranking(self, verdicts: Iterable[Verdict]) -> Ranking:
        """Rank the documents by their verdicts, one for each of `pairs`; ties as in trec_eval."""
        stream = iter(verdicts)
        ranking: Ranking = {}
        for qid, docnos in self.docnos.items():
            judged = {docno: next(stream) for docno in docnos}
            order = trec_order((docno, verdict.log_odds) for docno, verdict in judged.items())
            ranking[qid] = [(docno, judged[docno]) for docno, _ in order]
        return ranking


def read_candidates(run: Path, topics: Path, corpus: Path, *, k: int, exclude: Path | None = None) -> Candidates:
    """Read the documents to rerank.

    Args:
        run: a TREC run, the first stage's.
        topics: the topics (`limrank_ir.trec.read_topics`); those that the run does not have are left out.
        corpus: the corpus (`limrank_ir.corpus.read_passages`).
        k: how many documents of a query, the best of the run, in trec_eval's order.
        exclude: documents to take out of the run before the cutoff at `k` (`read_excluded`).

    Returns:
        The candidates. What was left out is logged.

    Raises:
        LimRankError: something in the files is wrong or missing; the message says where.
    """
    entries = read_run(run)
    known = read_topics(topics)
    if unknown := [qid for qid in entries if qid not in known]:
        raise LimRankError(
            f"{topics}: {len(unknown)} of {len(entries)} queries of {run} are not in these topics ({some(unknown)}); "
            "give the topics that the run was made with"
        )
    for qid, documents in entries.items():
        check_writable(run, "qid", qid)
        for entry in documents:
            check_writable(run, "docno", entry.docno)
    if without := len(known) - len(entries):
        log.info("%d of %d topics have no documents in %s and are left out", without, len(known), run)
    ranked = {qid: [entry.docno for entry in documents] for qid, documents in entries.items()}
    if exclude is not None:
        ranked = _without(ranked, exclude)
    docnos = {qid: documents[:k] for qid, documents in ranked.items() if documents}
    if not docnos:
        raise LimRankError(f"{exclude}: all documents of {run} are excluded, nothing is left to rerank")
    wanted = dict.fromkeys(docno for documents in docnos.values() for docno in documents)
    return Candidates(docnos, known, read_passages(corpus, wanted))


def _without(ranked: Mapping[str, list[str]], exclude: Path) -> dict[str, list[str]]:
    """Take excluded documents out of rankings."""
    excluded = read_excluded(exclude)
    left = {qid: [docno for docno in docnos if (qid, docno) not in excluded] for qid, docnos in ranked.items()}
    count = sum(map(len, ranked.values())) - sum(map(len, left.values()))
    log.info("%d documents taken out of the run (%s)", count, exclude)
    if emptied := [qid for qid, docnos in left.items() if not docnos]:
        log.warning("%d queries have no documents left (%s)", len(emptied), some(emptied))
    return left


def read_excluded(path: str | PathLike[str]) -> set[tuple[str, str]]:
    """Read which documents shall not be ranked for a query (BRIGHT's excluded ids, arXiv 2407.12883).

    Args:
        path: lines of ``qid docno``, as castorini publishes BRIGHT's, or of ``qid 0 docno grade``, as in qrels, whose
            grade does not matter; plain or ``.gz``.

    Returns:
        (qid, docno) pairs. Lines whose docno is ``N/A``, BRIGHT's mark for "none", are left out.

    Raises:
        LimRankError: a line with another number of columns; and as for `limrank_ir.files.lines`.
    """
    excluded = set()
    for place, line in rows(path):
        found = columns(line)
        if len(found) not in (2, 4):
            raise LimRankError(f"{place}: {len(found)} columns, not 2 or 4; write 'qid docno' or 'qid 0 docno grade'")
        qid, docno = found[0], found[1 if len(found) == 2 else 2]
        if docno != "N/A":
            excluded.add((qid, docno))
    return excluded


def scores(ranking: Ranking) -> dict[str, list[tuple[str, float]]]:
    """A ranking as a run: log-odds, because probabilities saturate and tie."""
    return {qid: [(docno, verdict.log_odds) for docno, verdict in ranked] for qid, ranked in ranking.items()}


def write_explanations(path: Path, ranking: Ranking) -> None:
    """Write why each document stands where it stands: JSONL, a line a document, in the order of the ranking.

    Args:
        path: the file, compressed if it ends in ``.gz``; ``-`` is stdout.
        ranking: the verdicts.

    Raises:
        LimRankError: as for `limrank_ir.files.replacing`.
    """
    with opened(path) as file:
        for qid, ranked in ranking.items():
            for rank, (docno, verdict) in enumerate(ranked, 1):
                record = {"qid": qid, "docno": docno, "rank": rank, **explained(verdict)}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def explained(verdict: Verdict) -> dict[str, object]:
    """A verdict as a JSON record."""
    return {
        "log_odds": verdict.log_odds,
        "probability": verdict.probability,
        "reasoning": verdict.reasoning,
        "finish": verdict.finish,
        "tokens": {
            "prompt": verdict.prompt_tokens,
            "reasoning": verdict.reasoning_tokens,
            "cut": verdict.cut_tokens,
        },
    }
