"""Candidates to rerank (a run with its topics and passages), and the ranking by their verdicts."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.files import rows
from limrank_ir.formats.output import open_output
from limrank_ir.formats.records import DOCUMENT_ID, QUERY_ID, header, pick
from limrank_ir.formats.topics import Topic, read_topics
from limrank_ir.formats.trec import Run, RunEntry, check_writable, columns, read_run, trec_order
from limrank_ir.formats.words import some
from limrank_ir.prompts import with_instruction
from limrank_ir.ranking.fusion import (
    FIRST_STAGE,
    MODEL,
    Scores,
    coverage,
    filled,
    fuse,
    log_coverage,
    need_shared_queries,
)
from limrank_ir.ranking.windows import Windows, best
from limrank_ir.verdict import Verdict

log = logging.getLogger("limrank_ir")

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


class RankedDocument(NamedTuple):
    """A document in the new ranking.

    Attributes:
        docno: its id.
        score: the score it is ranked by: log-odds, because probabilities saturate and tie, or the fused score.
        first_stage: its score in the first stage.
        verdict: the model's verdict on it, or on its best window.
        window: the number of that window, from 0; None without windows.
        fused_with: its scores in the other runs that are fused, by name; None where a run lacks it.
    """

    docno: str
    score: float
    first_stage: float
    verdict: Verdict
    window: int | None = None
    fused_with: Mapping[str, float | None] = MappingProxyType({})


Ranking: TypeAlias = dict[str, list[RankedDocument]]
"""qid to its documents, best first."""


@dataclass(frozen=True)
class Candidates:
    """The documents to rerank.

    Attributes:
        documents: qid to its documents in the order of the first stage; queries in the order of the run.
        topics: the topics, which include these queries.
        passages: docno to passage.
        windows: how to split long documents, or None to read each as one passage, up to the model's limit.
    """

    documents: Mapping[str, Sequence[RunEntry]]
    topics: Mapping[str, Topic]
    passages: Mapping[str, Passage]
    windows: Windows | None = None

    def pairs(self) -> list[tuple[str, str, str | None]]:
        """(query, passage, instruction) of every document or window, for `limrank_ir.LimRank.judge`."""
        return [
            (self.topics[qid].query, text, self.topics[qid].instruction)
            for qid, entries in self.documents.items()
            for entry in entries
            for text in self._texts(entry.docno)
        ]

    def _texts(self, docno: str) -> list[str]:
        """The texts that the model reads for a document: one, or one per window."""
        passage = self.passages[docno]
        if self.windows is None:
            return [passage.reader_text]
        return self.windows.split(passage.text, passage.title)

    def best_scores(self, scores: Iterable[float]) -> dict[str, dict[str, float]]:
        """Scores of another model as a run; a document is as good as its best window.

        Args:
            scores: one score for each of `pairs`.

        Returns:
            qid to docno to score.
        """
        stream = iter(scores)
        return {
            qid: {entry.docno: max(next(stream) for _ in self._texts(entry.docno)) for entry in entries}
            for qid, entries in self.documents.items()
        }

    def check_fused(self, runs: Mapping[str, Scores]) -> None:
        """Check the runs that will be fused with the verdicts, and log what they lack. For before hours of judging.

        Args:
            runs: name to the run.

        Raises:
            InputError: a run has none of the queries.
        """
        documents = {qid: [entry.docno for entry in entries] for qid, entries in self.documents.items()}
        for name, run in runs.items():
            need_shared_queries(name, run, self.documents)
            log_coverage(name, coverage(documents, run))

    def ranking(
        self,
        verdicts: Iterable[Verdict],
        weights: Mapping[str, float] | None = None,
        fused_with: Mapping[str, Scores] = MappingProxyType({}),
    ) -> Ranking:
        """Rank the documents by their verdicts, with ties ordered as in trec_eval.

        Args:
            verdicts: one verdict for each of `pairs`.
            weights: the weights when the verdicts are fused with other scores (`limrank_ir.fuse`), those of the first
                stage (`FIRST_STAGE`) and of `fused_with`; None ranks by the verdicts alone.
            fused_with: name to another run. A document that it lacks has its lowest score for the query.

        Returns:
            The ranking; queries in the order of the run.
        """
        counts = [len(self._texts(entry.docno)) for entries in self.documents.values() for entry in entries]
        stream = iter(best(verdicts, counts))
        ranking: Ranking = {}
        for qid, entries in self.documents.items():
            judged = [next(stream) for _ in entries]
            scores = [verdict.log_odds for verdict, _ in judged]
            others = {name: run.get(qid, {}) for name, run in fused_with.items()}
            if weights is not None:
                docnos = [entry.docno for entry in entries]
                both = {FIRST_STAGE: [entry.score for entry in entries], MODEL: scores}
                both |= {name: filled(found, docnos) for name, found in others.items()}
                scores = fuse(both, weights).tolist()
            ranked = {}
            for entry, score, (verdict, window) in zip(entries, scores, judged, strict=True):
                place = None if self.windows is None else window
                own = {name: found.get(entry.docno) for name, found in others.items()}
                ranked[entry.docno] = RankedDocument(entry.docno, score, entry.score, verdict, place, own)
            order = trec_order((document.docno, document.score) for document in ranked.values())
            ranking[qid] = [ranked[docno] for docno, _ in order]
        return ranking


Passages: TypeAlias = Callable[[Collection[str]], Mapping[str, Passage]]
"""Returns the passages of all given docnos, such as `limrank_ir.formats.corpus.read_passages` of a corpus."""


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
        run: the first-stage TREC run.
        topics: the topics (`limrank_ir.formats.trec.read_topics`); topics that are not in the run are left out.
        passages: the source of the passages.
        k: the number of documents per query, the best of the run in trec_eval's order.
        exclude: documents to remove from the run before the cutoff at `k` (`read_excluded`).
        windows: how to split long documents, or None.

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
    """Collect the documents to rerank.

    Args:
        run: qid to the entries of the first stage, best first. A repeated document of a query counts once, with its
            best score.
        topics: the topics; topics that are not in the run are left out.
        passages: the source of the passages.
        k: the number of documents per query, at least 1.
        excluded: (qid, docno) pairs to remove before the cutoff at `k`.
        names: the names of the run, the topics, and the excluded documents in messages.
        windows: how to split long documents, or None.

    Returns:
        The candidates. What was left out is logged.

    Raises:
        InputError: `k` is below 1, a query of the run has no topic, no document is left, or a text is missing.
    """
    run_name, topics_name, excluded_name = names
    if k < 1:
        raise InputError(f"k is {k}; rerank at least one document per query")
    if unknown := [qid for qid in run if qid not in topics]:
        raise InputError(
            f"{topics_name}: {len(unknown)} of {len(run)} queries of {run_name} are not in these topics "
            f"({some(unknown)}); give the topics that the run was made with"
        )
    if without := len(topics) - len(run):
        log.info("%d of %d topics have no documents in %s and are left out", without, len(topics), run_name)
    run = _distinct(run, run_name)
    if excluded:
        run = _without(run, excluded, excluded_name)
    first = {qid: documents[:k] for qid, documents in run.items() if documents}
    if not first:
        raise InputError(f"{excluded_name}: all documents of {run_name} are excluded, so there is nothing to rerank")
    wanted = dict.fromkeys(entry.docno for documents in first.values() for entry in documents)
    return Candidates(first, topics, passages(wanted), windows)


def _distinct(run: Mapping[str, Sequence[RunEntry]], name: object) -> dict[str, list[RunEntry]]:
    """Keep each document of a query once, at its first position, with its best score."""
    found = {}
    for qid, entries in run.items():
        kept: dict[str, RunEntry] = {}
        for entry in entries:
            if entry.docno not in kept or entry.score > kept[entry.docno].score:
                kept[entry.docno] = entry
        found[qid] = list(kept.values())
    if repeated := sum(map(len, run.values())) - sum(map(len, found.values())):
        log.warning("%s: %d documents are repeated for the same query and count once", name, repeated)
    return found


def _without(
    run: Mapping[str, Sequence[RunEntry]], excluded: Collection[tuple[str, str]], name: object
) -> dict[str, list[RunEntry]]:
    """Remove excluded documents from a run."""
    left = {qid: [entry for entry in entries if (qid, entry.docno) not in excluded] for qid, entries in run.items()}
    count = sum(map(len, run.values())) - sum(map(len, left.values()))
    log.info("%d documents excluded from the run (%s)", count, name)
    if emptied := [qid for qid, entries in left.items() if not entries]:
        log.warning("%d queries have no documents left (%s)", len(emptied), some(emptied))
    return left


def read_excluded(path: str | PathLike[str]) -> set[tuple[str, str]]:
    """Read the documents to exclude for each query (BRIGHT's excluded ids, arXiv 2407.12883).

    Args:
        path: lines ``qid docno``, as castorini publishes for BRIGHT; or lines ``qid 0 docno grade``, as in qrels, where
            the grade is ignored; or columns named by a header (``query-id corpus-id score``). Columns are separated by
            tabs, so that a docno may contain spaces, or by any whitespace. Plain or ``.gz``.

    Returns:
        (qid, docno) pairs; none, with a note, for an empty file. Lines with the docno ``N/A``, which means "none" in
        BRIGHT, are skipped.

    Raises:
        InputError: a malformed line; and as for `limrank_ir.formats.files.lines`.
    """
    excluded = set()
    names = None
    place = ""
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
    """Split a line at tabs, or at any whitespace if not all columns are separated by tabs."""
    cells = [cell.strip() for cell in line.split("\t")]
    return cells if len(cells) > 1 and len(columns(cells[0])) == 1 else columns(line)


_LAYOUTS = {2: ("qid", "docno"), 4: ("qid", "0", "docno", "grade")}


def _excluded(place: str, cells: Sequence[str], names: Sequence[str] | None) -> tuple[str, str]:
    """The (qid, docno) of a line, with or without a header."""
    layout = _LAYOUTS.get(len(cells), ()) if names is None else names
    if len(cells) != len(layout) or (layout == _LAYOUTS[4] and not _NUMBER.fullmatch(cells[3])):
        shape = "'qid docno' nor 'qid 0 docno grade'" if names is None else f"{' '.join(names)!r} nor a header"
        raise InputError(f"{place}: neither {shape}; put tabs between the columns if an id holds spaces")
    qid, docno = pick(cells, layout, QUERY_ID, DOCUMENT_ID)
    if not qid or not docno:
        raise InputError(f"{place}: an empty id; write 'qid docno'")
    return qid, docno


def write_requests(path: Path, candidates: Candidates) -> None:
    """Write candidates as RankLLM requests (``rank-llm rerank --requests-file``): JSONL, one line per query.

    Args:
        path: the file, compressed if it ends in ``.gz``; ``-`` is stdout.
        candidates: the candidates; an instruction is appended to its query, because requests have no field for it.

    Raises:
        InputError: as for `limrank_ir.formats.files.replacing`.
    """
    with open_output(path) as file:
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
    """Convert a ranking to a run."""
    return {qid: [(document.docno, document.score) for document in ranked] for qid, ranked in ranking.items()}


def write_explanations(path: Path, ranking: Ranking) -> None:
    """Write the score and reasoning of each document: JSONL, one line per document, in the order of the ranking.

    Args:
        path: the file, compressed if it ends in ``.gz``; ``-`` is stdout.
        ranking: the ranking.

    Raises:
        InputError: as for `limrank_ir.formats.files.replacing`.
    """
    with open_output(path) as file:
        for qid, ranked in ranking.items():
            for rank, document in enumerate(ranked, 1):
                record: dict[str, Any] = {"qid": qid, "docno": document.docno, "rank": rank, "score": document.score}
                record[FIRST_STAGE] = document.first_stage
                if document.fused_with:
                    record["fused_with"] = dict(document.fused_with)
                if document.window is not None:
                    record["window"] = document.window
                record |= verdict_record(document.verdict)
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a JSON record."""
    return {
        "log_odds": verdict.log_odds,
        "probability": verdict.probability,
        "reasoning": verdict.reasoning,
        "finish": verdict.finish,
        "label_mass": verdict.label_mass,
        "tokens": {
            "prompt": verdict.prompt_tokens,
            "reasoning": verdict.reasoning_tokens,
            "cut": verdict.cut_tokens,
        },
    }
