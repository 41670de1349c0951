"""Evaluating runs with ir_measures, and comparing them."""

from __future__ import annotations

import logging
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
from limrank_ir.ranking.statistics import Comparison, Correction, Interval, Test, compare, correct, differences

log = logging.getLogger("limrank_ir")

EXAMPLES = "nDCG@10, RR@10, R@100, P@5, AP, Judged@10, Success@1, P(rel=2)@10"
_SEPARATOR = re.compile(r"[\s,]+(?![^()]*\))")  # not inside parentheses: P(rel=2, judged_only=True)@10
_NAME = re.compile(r"(\w+?)(?:[._](\d+))?(?=$|\W)")  # mrr_10 is MRR@10
_TREC_NAME = re.compile(r"[A-Za-z_]+([._]\d+(\.\d+)?)?")  # ndcg_cut_10, ndcg_cut.10, iprec_at_recall_0.10


@dataclass(frozen=True)
class Evaluation:
    """The results of one run.

    Attributes:
        run: the file.
        mean: measure to its mean over all queries of the qrels (or the sum, for counts such as NumRet).
        per_query: qid to measure to value, for all queries of the qrels.
        missing: the number of queries in the qrels that the run does not have; they count as 0.
    """

    run: str
    mean: dict[str, float]
    per_query: dict[str, dict[str, float]]
    missing: int


def parse_measures(names: str) -> list[Any]:
    """Parse measures.

    Args:
        names: names from ir_measures in upper or lower case, or from trec_eval and PyTerrier, separated by spaces or
            commas: ``"nDCG@10 RR@10"``, ``"map ndcg_cut_10 recip_rank"``.

    Returns:
        The measures from ir_measures, without duplicates, in the given order.

    Raises:
        InputError: an unknown measure, one that no installed package computes, or a cutoff below 1.
    """
    need("eval", EXTRAS["eval"], "ir_measures", "scipy")
    import ir_measures

    measures = []
    for name in filter(None, _SEPARATOR.split(names)):
        measure = _measure(name)
        if measure is None:
            raise InputError(f"--measures: {name!r} is not a measure; examples: {EXAMPLES}")
        cutoff, gains = measure.params.get("cutoff", 1), measure.params.get("gains", {})
        if type(cutoff) is not int or cutoff < 1:
            raise InputError(
                f"--measures: {name!r} has cutoff {cutoff}; give a whole number from 1; examples: {EXAMPLES}"
            )
        if any(isinstance(gain, (int, float)) and gain > HIGHEST_GRADE for gain in gains.values()):
            raise InputError(f"--measures: {name!r} has a gain above {HIGHEST_GRADE}; give smaller ones")
        try:  # errors in its other parameters only show when it is computed
            supported = ir_measures.DefaultPipeline.supports(measure)
            if supported:
                ir_measures.calc_aggregate([measure], {"1": {"d": 1}}, {"1": {"d": 1.0}})
        except (OSError, CalledProcessError):  # gdeval is installed, but Perl is not
            supported = False
        except Exception as error:
            raise InputError(
                f"--measures: {name!r} has a missing or invalid parameter; examples: {EXAMPLES}"
            ) from error
        if not supported:
            raise InputError(f"--measures: no installed package computes {name!r}; examples: {EXAMPLES}")
        measures.append(measure)
    if not measures:
        raise InputError(f"--measures: give at least one; examples: {EXAMPLES}")
    return list(dict.fromkeys(measures))


def _measure(name: str) -> Any:
    """The measure with this name, or None."""
    import ir_measures
    from pytrec_eval import supported_nicknames

    spelling = {known.lower(): known for known in ir_measures.measures.registry}

    def correct_case(match: re.Match[str]) -> str:
        known = spelling.get(match[1].lower())
        if known is None:
            return match[0]
        return f"{known}@{match[2]}" if match[2] else known

    # ir_measures parses names as Python code, so it can raise any kind of error.
    with suppress(Exception):
        return ir_measures.parse_measure(_NAME.sub(correct_case, name))
    if _TREC_NAME.fullmatch(name) and name not in supported_nicknames:
        with suppress(Exception):
            # Some names mean several measures; then it is unclear which cutoff is meant.
            (measure,) = ir_measures.parse_trec_measure(name)
            return measure
    return None


def evaluate(
    qrels: str | PathLike[str], runs: Iterable[str | PathLike[str]], measures: Sequence[Any]
) -> list[Evaluation]:
    """Evaluate runs against judgments, with trec_eval's rules (``-c``) for all measures.

    A query in the qrels that a run does not have counts as 0. Ties, compared as float32, are ordered by descending
    docno, even for measures that ir_measures takes from other packages. A grade below 0 removes the document from the
    ranking first (BRIGHT's excluded ids).

    Args:
        qrels: the judgments (`limrank_ir.formats.trec.read_qrels`).
        runs: TREC runs.
        measures: the measures from `parse_measures`.

    Returns:
        The results of the runs. What was left out or missing is logged.

    Raises:
        InputError: a file is malformed; the message says where.
    """
    import ir_measures

    judged = read_qrels(qrels)
    grades = {
        qid: kept for qid, docs in judged.items() if (kept := {doc: grade for doc, grade in docs.items() if grade >= 0})
    }
    if not grades:
        raise InputError(f"{qrels}: all grades are below 0, which excludes documents; add judgments")
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
                # Use ranks as scores, so that every package behind ir_measures sees the same order, without ties.
                ranked[qid] = {docno: -float(place) for place, docno in enumerate(docnos)}
        if missing := len(grades) - len(ranked):
            log.warning("%s: %d of %d queries of the qrels are missing and count as 0", path, missing, len(grades))
        if unjudged := len(run.keys() - judged.keys()):
            log.warning("%s: %d of %d queries are not in the qrels and are left out", path, unjudged, len(run))
        try:
            results = evaluator.calc(ranked)
        except CalledProcessError as error:
            raise InputError(
                f"{path}: a program behind ir_measures failed; leave out ERR if it is among the measures: "
                "gdeval, which computes it, needs whole numbers as query ids"
            ) from error
        per_query: dict[str, dict[str, float]] = {qid: {} for qid in grades}
        for metric in results.per_query:
            per_query[metric.query_id][str(metric.measure)] = float(metric.value)
        mean = {str(measure): float(results.aggregated[measure]) for measure in measures}
        evaluations.append(Evaluation(str(path), mean, per_query, missing))
    return evaluations


def compare_runs(
    evaluations: Sequence[Evaluation],
    *,
    test: Test = "auto",
    correction: Correction = "holm",
    margin: float | None = None,
) -> list[dict[str, Comparison]]:
    """Compare each run with the first, query by query.

    Args:
        evaluations: at least two, with the same qrels and measures.
        test: see `limrank_ir.ranking.statistics.compare`.
        correction: see `limrank_ir.ranking.statistics.correct`; over the runs, for each measure on its own.
        margin: for the test of equivalence, the largest difference that does not matter; None: not tested.

    Returns:
        For each run but the first, measure to comparison. Undefined p-values are None, and are logged.

    Raises:
        InputError: scipy or statsmodels, which PyTerrier installs, are missing.
    """
    need("eval", EXTRAS["eval"], "scipy", "statsmodels")
    first, *others = evaluations
    found: list[dict[str, Comparison]] = [{} for _ in others]
    for measure in first.mean:
        raw = [
            compare(differences(first.per_query, other.per_query, measure), test=test, margin=margin)
            for other in others
        ]
        for comparisons, other, comparison in zip(found, others, correct(raw, correction), strict=True):
            comparisons[measure] = comparison
            if comparison.p is None:
                log.warning("%s: %s has no p-value: %s", other.run, measure, comparison.missing)
    return found


def mean_table(evaluations: Sequence[Evaluation]) -> tuple[list[str], list[list[str]]]:
    """A table of the means, one row per run."""
    rows = [
        [name, *(f"{mean:.4f}" for mean in evaluation.mean.values())]
        for name, evaluation in zip(_names(evaluations), evaluations, strict=True)
    ]
    return ["run", *evaluations[0].mean], rows


def comparison_table(
    evaluations: Sequence[Evaluation], comparisons: Sequence[Mapping[str, Comparison]]
) -> tuple[list[str], list[list[str]]]:
    """A table of the comparisons with the first run, one row per run and measure.

    With a margin, the last column is the p-value of TOST: if it is small, the difference is smaller than the margin.
    """
    rows = []
    margins = {found.margin for by_measure in comparisons for found in by_measure.values()} - {None}
    for name, by_measure in zip(_names(evaluations)[1:], comparisons, strict=True):
        for measure, found in by_measure.items():
            row = [name, measure, f"{found.difference:+.4f}", _interval(found.interval, "+.4f")]
            row += ["?" if found.effect is None else f"{found.effect:+.2f}"]
            row += [f"{found.wins}/{found.ties}/{found.losses}", _p_value(found.p)]
            rows.append([*row, *(_p_value(found.p_equivalent) for _ in margins)])
    header = ["run", "measure", "difference", "95% CI", "d_z", "W/T/L", "p"]
    return [*header, *(f"p same within {margin:g}" for margin in margins)], rows


def _interval(interval: Interval | None, form: str) -> str:
    return "?" if interval is None else f"[{interval[0]:{form}},{interval[1]:{form}}]"


def query_table(evaluations: Sequence[Evaluation]) -> tuple[list[str], list[list[str]]]:
    """A table of the values of every query, one row per query and run."""
    rows = [
        [qid, name, *(f"{evaluation.per_query[qid][measure]:.4f}" for measure in evaluation.mean)]
        for qid in evaluations[0].per_query
        for name, evaluation in zip(_names(evaluations), evaluations, strict=True)
    ]
    return ["query", "run", *evaluations[0].mean], rows


def as_json(
    evaluations: Sequence[Evaluation], comparisons: Sequence[Mapping[str, Comparison]], *, per_query: bool
) -> list[dict[str, Any]]:
    """The results as JSON records, unrounded; ``p`` and ``comparison`` are None for the baseline."""
    records: list[dict[str, Any]] = []
    for number, evaluation in enumerate(evaluations):
        record: dict[str, Any] = {"run": evaluation.run, "mean": evaluation.mean, "missing": evaluation.missing}
        if comparisons:
            found = comparisons[number - 1].items() if number else None
            record["p"] = found and {measure: comparison.p for measure, comparison in found}
            record["comparison"] = found and {measure: comparison.as_json() for measure, comparison in found}
        if per_query:
            record["per_query"] = evaluation.per_query
        records.append(record)
    return records


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Names for the tables: the file names if they differ, otherwise the paths."""
    names = [PurePath(evaluation.run).name for evaluation in evaluations]
    return names if len(set(names)) == len(names) else [evaluation.run for evaluation in evaluations]


def _p_value(value: float | None) -> str:
    if value is None:
        return "?"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
