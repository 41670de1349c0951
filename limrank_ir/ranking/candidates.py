"""Candidates: what a reranker is to judge (a run, topics and a corpus put together), and the verdicts on it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.files import rows
from limrank_ir.formats.output import opened
from limrank_ir.formats.records import DOCUMENT_ID, QUERY_ID, header, pick
from limrank_ir.formats.topics import Topic, read_topics
from limrank_ir.formats.trec import Run, RunEntry, check_writable, columns, read_run, trec_order
from limrank_ir.formats.words import some
from limrank_ir.prompts import with_instruction
from limrank_ir.ranking.fusion import fuse
from limrank_ir.ranking.windows import Windows, best
from limrank_ir.verdict import Verdict

log = logging.getLogger("limrank_ir")

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


class RankedDocument(NamedTuple):
    """One document in its new place.

    Attributes:
        docno: its id.
        score: what it is ranked by: log-odds, because probabilities saturate and tie; or the fused score.
        first_stage: its score in the first stage.
        verdict: what the model said of it; of a document in windows, of its best one.
        window: the number of that window, from 0; None without windows.
    """

    docno: str
    score: float
    first_stage: float
    verdict: Verdict
    window: int | None = None


Ranking: TypeAlias = dict[str, list[RankedDocument]]
"""qid to its documents, best first."""


@dataclass(frozen=True)
class Candidates:
    """The documents to rerank.

    Attributes:
        documents: qid to its documents, the first stage's lines in its order; queries in the order of the run.
        topics: the topics of these queries, at least.
        passages: docno to what the reranker reads.
        windows: how long documents are split, or None: they are read as they are, up to the model's limit.
    """

    documents: Mapping[str, Sequence[RunEntry]]
    topics: Mapping[str, Topic]
    passages: Mapping[str, Passage]
    windows: Windows | None = None

    def pairs(self) -> list[tuple[str, str, str | None]]:
        """(query, passage, instruction) of every document, or of its windows, as `limrank_ir.LimRank.judge` takes."""
        return [
            (self.topics[qid].query, text, self.topics[qid].instruction)
            for qid, entries in self.documents.items()
            for entry in entries
            for text in self._read(entry.docno)
        ]

    def _read(self, docno: str) -> list[str]:
        """What the model reads of a document."""
        passage = self.passages[docno]
        return [passage.reader_text] if self.windows is None else self.windows.split(passage.text, passage.title)

    def ranking(self, verdicts: Iterable[Verdict], weight: float | None = None) -> Ranking:
        """Rank the documents by their verdicts; ties as in trec_eval.

        Args:
            verdicts: one for each of `pairs`.
            weight: the verdicts' share when they are fused with the first stage's scores (`limrank_ir.fuse`), over
                the documents that were judged; None ranks by the verdicts alone.

        Returns:
            The ranking; queries in the order of the run.
        """
        counts = [len(self._read(entry.docno)) for entries in self.documents.values() for entry in entries]
        stream = iter(best(verdicts, counts))
        ranking: Ranking = {}
        for qid, entries in self.documents.items():
            judged = [next(stream) for _ in entries]
            scores = [verdict.log_odds for verdict, _ in judged]
            if weight is not None:
                scores = fuse(scores, [entry.score for entry in entries], weight).tolist()
            ranked = {
                entry.docno: RankedDocument(
                    entry.docno, score, entry.score, verdict, None if self.windows is None else window
                )
                for entry, score, (verdict, window) in zip(entries, scores, judged, strict=True)
            }
            order = trec_order((document.docno, document.score) for document in ranked.values())
            ranking[qid] = [ranked[docno] for docno, _ in order]
        return ranking


Passages: TypeAlias = Callable[[Collection[str]], Mapping[str, Passage]]
"""Gives the passages of these docnos, all of them: `limrank_ir.formats.corpus.read_passages` of a corpus, say."""


def read_candidates(
    run: Path,
    topics: Path,
    passages: Passages,
    *,
    k: int,
    exclude: Path | None = None,
    windows: Windows | None = None,
) -> Candidates:
    """Read the documents to rerank.

    Args:
        run: a TREC run, the first stage's.
        topics: the topics (`limrank_ir.formats.trec.read_topics`); those that the run does not have are left out.
        passages: where the passages come from.
        k: how many documents of a query, the best of the run, in trec_eval's order.
        exclude: documents to take out of the run before the cutoff at `k` (`read_excluded`).
        windows: how long documents are split, or None.

    Returns:
        The candidates. What was left out is logged.

    Raises:
        InputError: something in the files is wrong or missing; the message says where.
    """
    entries = read_run(run)
    for qid, documents in entries.items():
        check_writable(run, "qid", qid)
        for entry in documents:
            check_writable(run, "docno", entry.docno)
    excluded = frozenset() if exclude is None else read_excluded(exclude)
    names = (run, topics, exclude)
    return gather(entries, read_topics(topics), passages, k=k, excluded=excluded, names=names, windows=windows)


def gather(
    run: Mapping[str, Sequence[RunEntry]],
    topics: Mapping[str, Topic],
    passages: Passages,
    *,
    k: int,
    excluded: Collection[tuple[str, str]] = frozenset(),
    names: tuple[object, object, object] = ("run", "topics", "excluded"),
    windows: Windows | None = None,
) -> Candidates:
    """Put the documents to rerank together.

    Args:
        run: qid to the first stage's lines, best first. A document that comes again for a query counts once, with
            its best score.
        topics: the topics; those that the run does not have are left out.
        passages: where the passages come from.
        k: how many documents of a query, at least 1.
        excluded: (qid, docno) to take out before the cutoff at `k`.
        names: what run, topics and excluded documents are called in messages.
        windows: how long documents are split, or None.

    Returns:
        The candidates. What was left out is logged.

    Raises:
        InputError: `k` is below 1, a query of the run is in no topic, no document is left, or a text is missing.
    """
    ours, theirs, taken = names
    if k < 1:
        raise InputError(f"k is {k}; rerank at least the best document of a query")
    if unknown := [qid for qid in run if qid not in topics]:
        raise InputError(
            f"{theirs}: {len(unknown)} of {len(run)} queries of {ours} are not in these topics ({some(unknown)}); "
            "give the topics that the run was made with"
        )
    if without := len(topics) - len(run):
        log.info("%d of %d topics have no documents in %s and are left out", without, len(topics), ours)
    run = _distinct(run, ours)
    if excluded:
        run = _without(run, excluded, taken)
    first = {qid: documents[:k] for qid, documents in run.items() if documents}
    if not first:
        raise InputError(f"{taken}: all documents of {ours} are excluded, nothing is left to rerank")
    wanted = dict.fromkeys(entry.docno for documents in first.values() for entry in documents)
    return Candidates(first, topics, passages(wanted), windows)


def _distinct(run: Mapping[str, Sequence[RunEntry]], name: object) -> dict[str, list[RunEntry]]:
    """Keep each document of a query once, where it stands first, with its best score."""
    found = {}
    for qid, entries in run.items():
        kept: dict[str, RunEntry] = {}
        for entry in entries:
            if entry.docno not in kept or entry.score > kept[entry.docno].score:
                kept[entry.docno] = entry
        found[qid] = list(kept.values())
    if repeated := sum(map(len, run.values())) - sum(map(len, found.values())):
        log.warning("%s: %d documents come again for the same query and count once", name, repeated)
    return found


def _without(
    run: Mapping[str, Sequence[RunEntry]], excluded: Collection[tuple[str, str]], name: object
) -> dict[str, list[RunEntry]]:
    """Take excluded documents out of a run."""
    left = {qid: [entry for entry in entries if (qid, entry.docno) not in excluded] for qid, entries in run.items()}
    count = sum(map(len, run.values())) - sum(map(len, left.values()))
    log.info("%d documents taken out of the run (%s)", count, name)
    if emptied := [qid for qid, entries in left.items() if not entries]:
        log.warning("%d queries have no documents left (%s)", len(emptied), some(emptied))
    return left


def read_excluded(path: str | PathLike[str]) -> set[tuple[str, str]]:
    """Read which documents shall not be ranked for a query (BRIGHT's excluded ids, arXiv 2407.12883).

    Args:
        path: lines of ``qid docno``, as castorini publishes BRIGHT's, or of ``qid 0 docno grade``, as in qrels, whose
            grade does not matter; or what a header names (``query-id corpus-id score``). Columns are apart by tabs,
            with which a docno may hold spaces, or else by any whitespace. Plain or ``.gz``.

    Returns:
        (qid, docno) pairs; none, with a note, for an empty file. Lines whose docno is ``N/A``, BRIGHT's mark for
        "none", are left out.

    Raises:
        InputError: a line that is no such line; and as for `limrank_ir.formats.files.lines`.
    """
    excluded = set()
    names, place = None, ""
    for place, line in rows(path):
        found = _cells(line)
        if named := header(found, QUERY_ID, DOCUMENT_ID):
            names = named
            continue
        qid, docno = _excluded(place, found, names)
        if docno != "N/A":
            excluded.add((qid, docno))
    if not place:
        log.warning("%s: the file is empty, nothing is excluded", path)
    return excluded


def _cells(line: str) -> list[str]:
    """Split a line at its tabs, or at any whitespace where there are none, or blanks stand for some of them."""
    cells = [cell.strip() for cell in line.split("\t")]
    return cells if len(cells) > 1 and len(columns(cells[0])) == 1 else columns(line)


_LAYOUTS = {2: ("qid", "docno"), 4: ("qid", "0", "docno", "grade")}


def _excluded(place: str, cells: Sequence[str], names: Sequence[str] | None) -> tuple[str, str]:
    """The (qid, docno) of a line under a header, or without one."""
    layout = _LAYOUTS.get(len(cells), ()) if names is None else names
    if len(cells) != len(layout) or (layout == _LAYOUTS[4] and not _NUMBER.fullmatch(cells[3])):
        shape = "'qid docno' nor 'qid 0 docno grade'" if names is None else f"{' '.join(names)!r} nor a header"
        raise InputError(f"{place}: neither {shape}; put tabs between the columns if an id holds spaces")
    qid, docno = pick(cells, layout, QUERY_ID, DOCUMENT_ID)
    if not qid or not docno:
        raise InputError(f"{place}: an empty id; write 'qid docno'")
    return qid, docno


def write_requests(path: Path, candidates: Candidates) -> None:
    """Write candidates as RankLLM reads them (``rank-llm rerank --requests-file``): JSONL, a line a query.

    Args:
        path: the file, compressed if it ends in ``.gz``; ``-`` is stdout.
        candidates: the candidates; instructions follow their query's text, as there is no other place for them.

    Raises:
        InputError: as for `limrank_ir.formats.files.replacing`.
    """
    with opened(path) as file:
        for qid, entries in candidates.documents.items():
            topic = candidates.topics[qid]
            found = [
                {
                    "docid": entry.docno,
                    "score": entry.score,
                    "doc": {"contents": candidates.passages[entry.docno].reader_text},
                }
                for entry in entries
            ]
            query = {"text": with_instruction(topic.query, topic.instruction), "qid": qid}
            file.write(json.dumps({"query": query, "candidates": found}, ensure_ascii=False) + "\n")


def scores(ranking: Ranking) -> Run:
    """A ranking as a run."""
    return {qid: [(document.docno, document.score) for document in ranked] for qid, ranked in ranking.items()}


def write_explanations(path: Path, ranking: Ranking) -> None:
    """Write why each document stands where it stands: JSONL, a line a document, in the order of the ranking.

    Args:
        path: the file, compressed if it ends in ``.gz``; ``-`` is stdout.
        ranking: the verdicts.

    Raises:
        InputError: as for `limrank_ir.formats.files.replacing`.
    """
    with opened(path) as file:
        for qid, ranked in ranking.items():
            for rank, (docno, score, first_stage, verdict, window) in enumerate(ranked, 1):
                place = {"qid": qid, "docno": docno, "rank": rank, "score": score, "first_stage": first_stage}
                record = {**place, **({} if window is None else {"window": window}), **explained(verdict)}
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
