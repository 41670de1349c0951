"""Scoring runs with ir_measures, and whether their differences may be chance."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import PurePath
from subprocess import CalledProcessError
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import EXTRAS, need
from limrank_ir.formats.trec import HIGHEST_GRADE, read_qrels, read_run

log = logging.getLogger("limrank_ir")

EXAMPLES = "nDCG@10, RR@10, R@100, P@5, AP, Judged@10, Success@1, P(rel=2)@10"
_BETWEEN = re.compile(r"[\s,]+(?![^()]*\))")  # not inside parentheses: P(rel=2, judged_only=True)@10
_NAME = re.compile(r"(\w+?)(?:[._](\d+))?(?=$|\W)")  # mrr_10 is MRR@10
_TREC_NAME = re.compile(r"[A-Za-z_]+([._]\d+(\.\d+)?)?")  # ndcg_cut_10, ndcg_cut.10, iprec_at_recall_0.10


@dataclass(frozen=True)
class Evaluation:
    """The figures of one run.

    Attributes:
        run: the file.
        mean: measure to its value over all queries of the qrels (for counts, such as NumRet, their sum).
        per_query: qid to measure to value, for all queries of the qrels.
        missing: queries of the qrels that the run does not have; they count as 0.
    """

    run: str
    mean: dict[str, float]
    per_query: dict[str, dict[str, float]]
    missing: int


def parse_measures(names: str) -> list[Any]:
    """Parse measures.

    Args:
        names: names as ir_measures writes them, in capitals or not, or as trec_eval and PyTerrier do, apart by spaces
            or commas: ``"nDCG@10 RR@10"``, ``"map ndcg_cut_10 recip_rank"``.

    Returns:
        ir_measures' measures, each once, in the given order.

    Raises:
        InputError: an unknown measure, one that no installed package computes, or a cutoff below 1.
    """
    need("eval", EXTRAS["eval"], "ir_measures", "scipy")
    import ir_measures

    measures = []
    for name in filter(None, _BETWEEN.split(names)):
        measure = _measure(name)
        if measure is None:
            raise InputError(f"--measures: {name!r} is no measure; such as: {EXAMPLES}")
        cutoff, gains = measure.params.get("cutoff", 1), measure.params.get("gains", {})
        if type(cutoff) is not int or cutoff < 1:
            raise InputError(f"--measures: {name!r} cuts at {cutoff}; give a whole number from 1, such as: {EXAMPLES}")
        if any(isinstance(gain, (int, float)) and gain > HIGHEST_GRADE for gain in gains.values()):
            raise InputError(f"--measures: {name!r} has a gain above {HIGHEST_GRADE}; give smaller ones")
        try:  # whether its other parameters are right shows only when it is computed
            supported = ir_measures.DefaultPipeline.supports(measure)
            if supported:
                ir_measures.calc_aggregate([measure], {"1": {"d": 1}}, {"1": {"d": 1.0}})
        except (OSError, CalledProcessError):  # gdeval is there, but no Perl
            supported = False
        except Exception as error:
            raise InputError(
                f"--measures: {name!r} lacks a parameter, or has one that cannot be; such as: {EXAMPLES}"
            ) from error
        if not supported:
            raise InputError(f"--measures: no installed package computes {name!r}; such as: {EXAMPLES}")
        measures.append(measure)
    if not measures:
        raise InputError(f"--measures: give at least one, such as: {EXAMPLES}")
    return list(dict.fromkeys(measures))


def _measure(name: str) -> Any:
    """The measure of that name, or None."""
    import ir_measures
    from pytrec_eval import supported_nicknames

    spelled = {known.lower(): known for known in ir_measures.measures.registry}

    def as_theirs(found: re.Match[str]) -> str:
        known = spelled.get(found[1].lower())
        return found[0] if known is None else f"{known}@{found[2]}" if found[2] else known

    # ir_measures reads names as Python: what it raises depends on how a name is wrong.
    with suppress(Exception):
        return ir_measures.parse_measure(_NAME.sub(as_theirs, name))
    if _TREC_NAME.fullmatch(name) and name not in supported_nicknames:
        with suppress(Exception):
            (measure,) = ir_measures.parse_trec_measure(name)  # several: which cutoff is meant?
            return measure
    return None


def evaluate(
    qrels: str | PathLike[str], runs: Iterable[str | PathLike[str]], measures: Sequence[Any]
) -> list[Evaluation]:
    """Score runs against judgments, with trec_eval's rules (``-c``) for all measures.

    A query of the qrels that a run does not have counts as 0. Equal scores, compared as float32, rank by descending
    docno, also for measures that ir_measures takes from elsewhere. A grade below 0 means that the document is taken
    out of the ranking first (BRIGHT's excluded ids).

    Args:
        qrels: the judgments (`limrank_ir.formats.trec.read_qrels`).
        runs: TREC runs.
        measures: what `parse_measures` returns.

    Returns:
        The runs' figures. What was left out or missing is logged.

    Raises:
        InputError: a file is wrong; the message says where.
    """
    import ir_measures

    judged = read_qrels(qrels)
    grades = {
        qid: kept for qid, docs in judged.items() if (kept := {doc: grade for doc, grade in docs.items() if grade >= 0})
    }
    if not grades:
        raise InputError(f"{qrels}: all grades are below 0, which takes documents out; add judgments")
    if dropped := len(judged) - len(grades):
        log.warning("%d queries of %s have no grade of 0 or more and are left out", dropped, qrels)
    evaluator = ir_measures.evaluator(measures, grades)
    evaluations = []
    for path in runs:
        run = read_run(path)
        ranked = {}
        for qid in grades:
            docnos = [entry.docno for entry in run.get(qid, ()) if judged[qid].get(entry.docno, 0) >= 0]
            if docnos:
                # Places as scores: every package behind ir_measures then sees the same order, without ties.
                ranked[qid] = {docno: -float(place) for place, docno in enumerate(docnos)}
        if missing := len(grades) - len(ranked):
            log.warning("%s: %d of %d queries of the qrels are missing and count as 0", path, missing, len(grades))
        if unjudged := len(run.keys() - judged.keys()):
            log.warning("%s: %d of %d queries are not in the qrels and are left out", path, unjudged, len(run))
        try:
            results = evaluator.calc(ranked)
        except CalledProcessError as error:
            raise InputError(
                f"{path}: a program behind ir_measures failed; if ERR is among the measures leave it out: "
                "gdeval, which computes it, wants whole numbers as query ids"
            ) from error
        per_query: dict[str, dict[str, float]] = {qid: {} for qid in grades}
        for metric in results.per_query:
            per_query[metric.query_id][str(metric.measure)] = float(metric.value)
        mean = {str(measure): float(results.aggregated[measure]) for measure in measures}
        evaluations.append(Evaluation(str(path), mean, per_query, missing))
    return evaluations


def significance(evaluations: Sequence[Evaluation]) -> list[dict[str, float | None]]:
    """Paired two-sided t-tests of each run against the first, with Holm's correction over the runs.

    Args:
        evaluations: at least two, of the same qrels and measures.

    Returns:
        For each run but the first, measure to corrected p-value; None where it cannot be told (one query, or `t_test`
        says so), which is logged. Without any difference it is 1.

    Raises:
        InputError: scipy or statsmodels, which come with PyTerrier, are missing.
    """
    need("eval", EXTRAS["eval"], "scipy", "statsmodels")
    first, *others = evaluations
    if len(first.per_query) < 2:
        log.warning("a t-test needs at least 2 queries, the qrels have 1")
        return [dict.fromkeys(first.mean) for _ in others]
    corrected: list[dict[str, float | None]] = [dict.fromkeys(first.mean) for _ in others]
    for measure in first.mean:
        raw = [t_test(first.per_query, other.per_query, measure) for other in others]
        for found, other, value in zip(corrected, others, holm(raw), strict=True):
            found[measure] = value
            if value is None:
                log.warning(
                    "%s: %s differs by the same amount for every query, of which a t-test cannot tell anything",
                    other.run,
                    measure,
                )
    return corrected


def holm(p_values: Sequence[float]) -> list[float | None]:
    """Holm's correction over several tests.

    Args:
        p_values: of each test; NaN where a test tells nothing, which then does not count as one.

    Returns:
        The corrected values in the same order; None for NaN.
    """
    from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

    told = [value for value in p_values if not math.isnan(value)]
    values = iter(multipletests(told, method="holm")[1] if told else [])
    return [None if math.isnan(value) else float(next(values)) for value in p_values]


def t_test(one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]], measure: str) -> float:
    """Paired two-sided t-test of two runs.

    Args:
        one: qid to measure to value (`Evaluation.per_query`), of at least two queries.
        other: the same of the other run, for the same queries.
        measure: what to compare.

    Returns:
        The p-value, uncorrected; without any difference it is 1. NaN if all differences are the same and not 0: they
        have no variance, which the test divides by.
    """
    from scipy.stats import ttest_rel  # type: ignore[import-untyped]

    pairs = [(one[qid][measure], other[qid][measure]) for qid in one]
    differences = [left - right for left, right in pairs]
    if not any(differences):
        return 1.0  # scipy would divide 0 by 0
    if max(differences) - min(differences) <= 1e-9 * max(map(abs, differences)):  # but for rounding
        return math.nan
    return float(ttest_rel(*zip(*pairs, strict=True)).pvalue)


def mean_table(
    evaluations: Sequence[Evaluation], p_values: Sequence[Mapping[str, float | None]]
) -> tuple[list[str], list[list[str]]]:
    """Lay out the means, a row a run; with p-values each measure has a second column, empty for the baseline."""
    header, rows = ["run"], [[name] for name in _names(evaluations)]
    for measure in evaluations[0].mean:
        header.append(measure)
        for row, evaluation in zip(rows, evaluations, strict=True):
            row.append(f"{evaluation.mean[measure]:.4f}")
        if p_values:
            header.append(f"p {measure}")
            rows[0].append("")
            for row, values in zip(rows[1:], p_values, strict=True):
                row.append(_p_value(values[measure]))
    return header, rows


def query_table(evaluations: Sequence[Evaluation]) -> tuple[list[str], list[list[str]]]:
    """Lay out the values of every query, a row a query and run."""
    rows = [
        [qid, name, *(f"{value:.4f}" for value in (evaluation.per_query[qid][measure] for measure in evaluation.mean))]
        for qid in evaluations[0].per_query
        for name, evaluation in zip(_names(evaluations), evaluations, strict=True)
    ]
    return ["query", "run", *evaluations[0].mean], rows


def as_json(
    evaluations: Sequence[Evaluation], p_values: Sequence[Mapping[str, float | None]], *, per_query: bool
) -> list[dict[str, Any]]:
    """The same as JSON records, unrounded."""
    records: list[dict[str, Any]] = []
    for number, evaluation in enumerate(evaluations):
        record: dict[str, Any] = {"run": evaluation.run, "mean": evaluation.mean, "missing": evaluation.missing}
        if p_values:
            record["p"] = p_values[number - 1] if number else None
        if per_query:
            record["per_query"] = evaluation.per_query
        records.append(record)
    return records


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Names for the tables: the files' names where they differ, else their paths."""
    names = [PurePath(evaluation.run).name for evaluation in evaluations]
    return names if len(set(names)) == len(names) else [evaluation.run for evaluation in evaluations]


def _p_value(value: float | None) -> str:
    if value is None:
        return "?"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
