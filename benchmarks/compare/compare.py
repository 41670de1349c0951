"""Compare two runs of the same topics: the order of documents, effectiveness, each query, and effects."""

from __future__ import annotations

import dataclasses
import logging
import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from ctypes import c_float
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.trec import RunEntry, read_qrels, read_run, write_qrels, write_run
from limrank_ir.ranking.evaluate import evaluate, parse_measures
from limrank_ir.ranking.statistics import Comparison, compare, differences

from .measures import delta_relative_improvement, effect_ratio, kendall_tau_union, overlap, rank_biased_overlap, rmse

log = logging.getLogger("limrank_ir")

TrecRun: TypeAlias = dict[str, list[RunEntry]]
"""qid to its entries, in trec_eval's order."""


@dataclass(frozen=True)
class ComparedQuery:
    """One query in both runs.

    Attributes:
        qid: its id.
        tau: Kendall's tau union, or None if it is undefined.
        rbo: rank-biased overlap.
        overlap: share of documents that both runs have.
        original: measure to its value with the first run.
        reproduced: measure to its value with the second run.
    """

    qid: str
    tau: float | None
    rbo: float
    overlap: float
    original: dict[str, float]
    reproduced: dict[str, float]

    def difference(self, measure: str) -> float:
        """The second run's value minus the first run's."""
        return self.reproduced[measure] - self.original[measure]


@dataclass(frozen=True)
class ComparedMeasure:
    """Effectiveness with both runs, over the queries that both have.

    Attributes:
        original: mean with the first run.
        reproduced: mean with the second run.
        rmse: root mean square error over the queries.
        difference: second run minus first run, with interval, effect size, and the p-value of a paired t-test.
        effect_ratio: see `measures.effect_ratio`; None without baselines, or if it is undefined.
        delta_relative_improvement: see `measures.delta_relative_improvement`; None without baselines, or if undefined.
    """

    original: float
    reproduced: float
    rmse: float
    difference: Comparison
    effect_ratio: float | None
    delta_relative_improvement: float | None


@dataclass(frozen=True)
class RunComparison:
    """Two runs, compared.

    Attributes:
        runs: the files: the original, the reproduction, and their baselines if there are any.
        left_out: what is not in the figures, in words.
        depths: the most documents that a query has, in the original and in the reproduction.
        tied: documents whose score equals another's of the same query, in the original and in the reproduction.
        measures: measure to figures.
        queries: the compared queries, in the order of the first run.
    """

    runs: list[str]
    left_out: list[str]
    depths: tuple[int, int]
    tied: tuple[int, int]
    measures: dict[str, ComparedMeasure]
    queries: list[ComparedQuery]

    @property
    def tau(self) -> float | None:
        """Mean of Kendall's tau union over the queries where it is defined; None if it is nowhere."""
        defined = [query.tau for query in self.queries if query.tau is not None]
        return math.fsum(defined) / len(defined) if defined else None

    @property
    def rbo(self) -> float:
        """Mean rank-biased overlap."""
        return math.fsum(query.rbo for query in self.queries) / len(self.queries)

    @property
    def overlap(self) -> float:
        """Mean share of documents that both runs have."""
        return math.fsum(query.overlap for query in self.queries) / len(self.queries)

    @property
    def largest_differences(self) -> list[ComparedQuery]:
        """The queries by the size of their difference in the first measure, largest first."""
        measure = next(iter(self.measures))
        return sorted(self.queries, key=lambda query: -abs(query.difference(measure)))

    def as_json(self) -> dict[str, Any]:
        """Everything, unrounded."""
        means = {"tau": self.tau, "rbo": self.rbo, "overlap": self.overlap}
        return {**dataclasses.asdict(self), "means": means}


def compare_runs(
    original: Path,
    reproduced: Path,
    qrels: Path,
    *,
    baselines: tuple[Path, Path] | None = None,
    measures: str = "nDCG@10",
) -> RunComparison:
    """Compare two runs over the judged queries that both have, and their baselines, if given, over the same ones.

    Ties are ordered as in trec_eval (`limrank_ir.formats.trec.trec_order`), in all figures.

    Args:
        original: a TREC run.
        reproduced: another one.
        qrels: judgments.
        baselines: the original's baseline and the reproduction's, for the effects.
        measures: names, as `limrank_ir.ranking.evaluate.parse_measures` takes them.

    Returns:
        The comparison. What is left out of it is logged, too.

    Raises:
        InputError: a file is malformed, the runs share no judged query or no document, or a package is missing.
    """
    need("bench compare", "bench", "ir_measures", "scipy")
    parsed = parse_measures(measures)
    files = [original, reproduced, *(baselines or ())]
    runs = [read_run(file) for file in files]
    judged = read_qrels(qrels)
    qids = _common(files, runs, judged, qrels)
    values = _values(runs, qids, judged, parsed)
    left_out = _left_out(files, runs, qids, judged)
    for line in left_out:
        log.warning("%s", line)
    return RunComparison(
        runs=[str(file) for file in files],
        left_out=left_out,
        depths=(_depth(runs[0], qids), _depth(runs[1], qids)),
        tied=(_tied(runs[0], qids), _tied(runs[1], qids)),
        measures={measure: _measure(values, measure) for measure in map(str, parsed)},
        queries=[_query(qid, runs, values) for qid in qids],
    )


def _common(
    files: Sequence[Path], runs: Sequence[TrecRun], judged: Mapping[str, Mapping[str, int]], qrels: Path
) -> list[str]:
    """The judged queries that all runs have, checked."""
    first, second, *others = runs
    shared = [qid for qid in first if qid in second]
    if not shared:
        raise InputError(
            f"{files[0]} and {files[1]} share no query ({next(iter(first))!r}, {next(iter(second))!r}); "
            "give two runs of the same topics"
        )
    if not any({e.docno for e in first[qid]} & {e.docno for e in second[qid]} for qid in shared):
        raise InputError(
            f"{files[0]} and {files[1]} share no document of a query ({first[shared[0]][0].docno!r}, "
            f"{second[shared[0]][0].docno!r}); give two runs over the same corpus"
        )
    kept = [qid for qid in shared if any(grade >= 0 for grade in judged.get(qid, {}).values())]
    if not kept:
        raise InputError(f"{qrels}: none of the {len(shared)} queries of both runs is judged; check the judgments")
    compared = [qid for qid in kept if all(qid in run for run in others)]
    if not compared:
        raise InputError("the baselines and the runs share no judged query; give baselines of the same topics")
    return compared


def _values(
    runs: Sequence[TrecRun], qids: Sequence[str], judged: Mapping[str, Mapping[str, int]], measures: Sequence[Any]
) -> list[dict[str, dict[str, float]]]:
    """Each run's values: qid to measure to value, for these queries only."""
    with tempfile.TemporaryDirectory() as folder:
        qrels = Path(folder) / "qrels.txt"
        write_qrels(qrels, {qid: judged[qid] for qid in qids})
        kept = [Path(folder) / f"{number}.run" for number in range(len(runs))]
        for file, run in zip(kept, runs, strict=True):
            write_run(file, {qid: [(entry.docno, entry.score) for entry in run[qid]] for qid in qids})
        return [evaluation.per_query for evaluation in evaluate(qrels, kept, measures)]


def _measure(values: Sequence[Mapping[str, Mapping[str, float]]], measure: str) -> ComparedMeasure:
    """The figures of one measure. `values` are the runs' in the order of the files."""
    columns = [[by_measure[measure] for by_measure in per_query.values()] for per_query in values]
    original, reproduced, *baselines = columns
    effects = (baselines[0], original, baselines[1], reproduced) if baselines else None
    return ComparedMeasure(
        original=math.fsum(original) / len(original),
        reproduced=math.fsum(reproduced) / len(reproduced),
        rmse=rmse(original, reproduced),
        difference=compare(differences(values[0], values[1], measure), test="t"),
        effect_ratio=effect_ratio(*effects) if effects else None,
        delta_relative_improvement=delta_relative_improvement(*effects) if effects else None,
    )


def _query(qid: str, runs: Sequence[TrecRun], values: Sequence[Mapping[str, Mapping[str, float]]]) -> ComparedQuery:
    one, other = ([entry.docno for entry in run[qid]] for run in runs[:2])
    return ComparedQuery(
        qid=qid,
        tau=kendall_tau_union(one, other),
        rbo=rank_biased_overlap(one, other),
        overlap=overlap(one, other),
        original=dict(values[0][qid]),
        reproduced=dict(values[1][qid]),
    )


def _left_out(
    files: Sequence[Path], runs: Sequence[TrecRun], qids: Sequence[str], judged: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """What is not in the figures."""
    kept = set(qids)
    lines = [
        f"{file}: {missing} of {len(run)} queries are left out; another run or the qrels do not have them"
        for file, run in zip(files, runs, strict=True)
        if (missing := len(run.keys() - kept))
    ]
    if missing := len(judged.keys() - kept):
        lines.append(f"{missing} of {len(judged)} judged queries are not in all runs and do not count")
    return lines


def _depth(run: TrecRun, qids: Sequence[str]) -> int:
    return max(len(run[qid]) for qid in qids)


def _tied(run: TrecRun, qids: Sequence[str]) -> int:
    """Documents whose score, compared like trec_eval, is that of another one of the same query."""
    scores = (Counter(c_float(entry.score).value for entry in run[qid]) for qid in qids)
    return sum(count for counts in scores for count in counts.values() if count > 1)
