"""What reranking changed, query by query: both rankings with judgments, and the paper's own class of error."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.topics import Topic, read_topics
from limrank_ir.formats.trec import RunEntry, read_qrels, read_run, write_qrels
from limrank_ir.formats.words import some
from limrank_ir.ranking.evaluate import evaluate, parse_measures

from .verdicts import Judged

MEASURE = "nDCG@10"
SAME = 5e-4  # smaller changes count as none
MARGIN = 1.0  # of log-odds: odds that differ by a factor of e at most

Change = Literal["helped", "hurt", "unchanged"]


@dataclass(frozen=True)
class Document:
    """A document in one or both rankings of a query.

    Attributes:
        docno: its id.
        grade: its grade, or None if it is not judged.
        before: its rank in the first stage, from 1; None if it is not there.
        after: its rank after reranking; None if it is not there.
        first_score: its score in the first stage.
        score: its score after reranking.
        judged: the model's verdict, if it is known.
    """

    docno: str
    grade: int | None
    before: int | None
    after: int | None
    first_score: float | None
    score: float | None
    judged: Judged | None

    @property
    def opinion(self) -> float | None:
        """The log-odds if they are known, else the score after reranking."""
        return self.score if self.judged is None else self.judged.log_odds


@dataclass(frozen=True)
class Indirect:
    """A document of a lower grade that is scored like one of the highest grade, and ranked above it.

    Attributes:
        low: the document of the lower grade.
        high: the document of the highest grade.
        gap: the score of the lower minus that of the higher one.
    """

    low: Document
    high: Document
    gap: float


@dataclass(frozen=True)
class QueryChange:
    """What reranking changed for a query.

    Attributes:
        topic: the query.
        before: nDCG@10 of the first stage.
        after: nDCG@10 after reranking.
        documents: all documents of both rankings, without those that the judgments exclude (grades below 0).
        relevant: how many documents are judged relevant.
        highest: the highest grade of the query.
        indirect: see `indirect_errors`.
    """

    topic: Topic
    before: float
    after: float
    documents: Sequence[Document]
    relevant: int
    highest: int
    indirect: Sequence[Indirect]

    @property
    def difference(self) -> float:
        """The change in nDCG@10."""
        return self.after - self.before

    @property
    def change(self) -> Change:
        """Whether reranking helped."""
        if abs(self.difference) < SAME:
            return "unchanged"
        return "helped" if self.difference > 0 else "hurt"

    def top(self, ranking: Literal["before", "after"], k: int) -> list[Document]:
        """The best documents of one of the rankings.

        Args:
            ranking: which one.
            k: how many.

        Returns:
            The documents in its order.
        """
        ranked = [(rank, each) for each in self.documents if (rank := getattr(each, ranking)) and rank <= k]
        return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]


@dataclass(frozen=True)
class Rankings:
    """Two rankings and their judgments, read and checked.

    Attributes:
        first: qid to the first stage's entries, best first.
        reranked: the same after reranking.
        topics: the topics of all queries.
        qrels: qid to docno to grade.
        figures: nDCG@10 of each query: before and after.
        left_out: judged queries that are in neither run.
    """

    first: Mapping[str, Sequence[RunEntry]]
    reranked: Mapping[str, Sequence[RunEntry]]
    topics: Mapping[str, Topic]
    qrels: Mapping[str, Mapping[str, int]]
    figures: Mapping[str, tuple[float, float]]
    left_out: int

    @property
    def graded(self) -> bool:
        """Whether there is more than one grade of relevance."""
        return any(grade > 1 for grades in self.qrels.values() for grade in grades.values())

    def docnos(self, k: int) -> dict[str, set[str]]:
        """The documents among the best k of either ranking, by qid."""
        return {
            qid: {entry.docno for run in (self.first, self.reranked) for entry in self._kept(run, qid)[:k]}
            for qid in self.figures
        }

    def _kept(self, run: Mapping[str, Sequence[RunEntry]], qid: str) -> list[RunEntry]:
        """A query's documents without those that the judgments exclude."""
        return [entry for entry in run.get(qid, ()) if self.qrels[qid].get(entry.docno, 0) >= 0]

    def documents(self, qid: str, judged: Mapping[str, Judged]) -> list[Document]:
        """All documents of a query, those of the reranked run first."""
        before = {entry.docno: (rank, entry.score) for rank, entry in enumerate(self._kept(self.first, qid), 1)}
        after = {entry.docno: (rank, entry.score) for rank, entry in enumerate(self._kept(self.reranked, qid), 1)}
        nowhere = (None, None)
        return [
            Document(
                docno,
                self.qrels[qid].get(docno),
                before.get(docno, nowhere)[0],
                after.get(docno, nowhere)[0],
                before.get(docno, nowhere)[1],
                after.get(docno, nowhere)[1],
                judged.get(docno),
            )
            for docno in dict.fromkeys([*after, *before])
        ]


def read_rankings(run: Path, reranked: Path, topics: Path, qrels: Path) -> Rankings:
    """Read two runs with their topics and judgments, and evaluate them.

    Args:
        run: the first stage's TREC run.
        reranked: the run after reranking.
        topics: the topics.
        qrels: the judgments. A grade below 0 takes a document out of both rankings.

    Returns:
        The rankings of the judged queries that are in one of the runs.

    Raises:
        InputError: a file is malformed, a query has no topic, or runs and judgments have no query in common.
    """
    need("bench errors", "bench", "ir_measures")
    first, second, grades, asked = read_run(run), read_run(reranked), read_qrels(qrels), read_topics(topics)
    judged = [qid for qid, found in grades.items() if any(grade >= 0 for grade in found.values())]
    shown = [qid for qid in judged if qid in first or qid in second]
    for name, found in ((run, first), (reranked, second)):
        if not any(qid in found for qid in judged):
            raise InputError(
                f"{name}: none of its {len(found)} queries is judged in {qrels}; give the qrels of this run"
            )
    if unknown := [qid for qid in shown if qid not in asked]:
        raise InputError(
            f"{topics}: {len(unknown)} of {len(shown)} queries of the runs are not in these topics ({some(unknown)}); "
            "give the topics of these runs"
        )
    with tempfile.TemporaryDirectory(prefix="limrank-") as place:  # without the queries that are in neither run
        subset = Path(place, "qrels.txt")
        write_qrels(subset, {qid: grades[qid] for qid in shown})
        before, after = evaluate(subset, [run, reranked], parse_measures(MEASURE))
    figures = {qid: (before.per_query[qid][MEASURE], after.per_query[qid][MEASURE]) for qid in shown}
    return Rankings(first, second, asked, grades, figures, len(judged) - len(shown))


def changes(
    rankings: Rankings, verdicts: Mapping[str, Mapping[str, Judged]], *, k: int, margin: float = MARGIN
) -> list[QueryChange]:
    """Compare the rankings of each query.

    Args:
        rankings: the rankings.
        verdicts: qid to docno to verdict; may be empty.
        k: how far down the reranked ranking errors count.
        margin: see `indirect_errors`.

    Returns:
        The queries, from the largest gain in nDCG@10 to the largest loss; ties by qid.
    """
    found = []
    for qid, (before, after) in rankings.figures.items():
        documents = rankings.documents(qid, verdicts.get(qid, {}))
        grades = rankings.qrels[qid].values()
        relevant, highest = sum(grade > 0 for grade in grades), max(grades)
        errors = indirect_errors(documents, highest, k=k, margin=margin)
        found.append(QueryChange(rankings.topics[qid], before, after, documents, relevant, highest, errors))
    return sorted(found, key=lambda change: (-change.difference, change.topic.qid))


def indirect_errors(documents: Sequence[Document], highest: int, *, k: int, margin: float = MARGIN) -> list[Indirect]:
    """Find indirect relevance that is scored like direct relevance, the error that LimRank's paper names.

    A pair is such an error if, for this query, the one document has the highest grade and the other a lower grade above
    0 (background, say); the lower one is among the best `k` after reranking, and stands above the higher one or has the
    same score; and their log-odds differ by at most `margin`. Without verdicts, the scores of the reranked run take the
    place of log-odds.

    Args:
        documents: the query's documents.
        highest: the highest grade of the query.
        k: how far down the ranking errors count.
        margin: the largest difference, in log-odds.

    Returns:
        The pairs, by the ranks of the lower and of the higher document. None if only one grade is above 0.
    """
    ranked = [(each.after, each.opinion, each) for each in documents if each.after is not None]
    high = [(rank, score, each) for rank, score, each in ranked if each.grade == highest > 1 and score is not None]
    low = [(rank, score, each) for rank, score, each in ranked if 0 < (each.grade or 0) < highest and rank <= k]
    pairs = [
        (low_rank, high_rank, Indirect(lower, higher, low_score - high_score))
        for low_rank, low_score, lower in low
        for high_rank, high_score, higher in high
        if low_score is not None and abs(low_score - high_score) <= margin
        if low_rank < high_rank or low_score == high_score
    ]
    return [pair for _, _, pair in sorted(pairs, key=lambda each: each[:2])]
