"""Fusion: one score from several, by the weighted sum of their z-scores, or by reciprocal ranks.

A document that one of the fused runs lacks has that run's lowest score for the query: if the run had scored it, it
would be there or below. This is what Pyserini's hybrid search does (github castorini/pyserini:
pyserini/search/hybrid/_searcher.py, after Ma et al., arXiv 2104.05740). Libraries that add up 0 for it (ranx's
``wsum``, PyTerrier's ``+``) give it the run's *mean* once scores are z-scores. A run that lacks the whole query has no
say in it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from limrank_ir.errors import InputError
from limrank_ir.formats.trec import trec_order
from limrank_ir.formats.words import some
from limrank_ir.models import Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

log = logging.getLogger("limrank_ir")

MODEL = "limrank"
"""The name of the reranker's own log-odds among the scores that are fused, whatever the model."""
FIRST_STAGE = "first_stage"
"""The name of the first stage's scores, where nobody has given them another."""
RANK_CONSTANT = 60  # Cormack et al., SIGIR 2009

Fuse: TypeAlias = bool | float | Mapping[str, float]
"""The option ``fuse``: True, False, the reranker's weight from 0 to 1, or the weights of all scores by name."""
Scores: TypeAlias = Mapping[str, Mapping[str, float]]
"""A run as scores: qid to docno to score."""
Method = Literal["z", "rrf"]
"""How runs are fused: weighted z-scores, or weighted reciprocal ranks."""


def fuse(scores: Mapping[str, ArrayLike], weights: Mapping[str, float] | None = None) -> np.ndarray:
    """Fuse several scores of a query's candidates: the sum of ``weight * z(score)``.

    For two scores, this is the rule of ERank, which gives the reranker 0.8. z(x) = (x - mean) / population standard
    deviation over the candidates, or 0 if all are equal. Fused scores are therefore comparable only within a query.

    Args:
        scores: name to the candidates' scores, higher is better, each of shape ``[candidates]``.
        weights: name to weight, in any unit: only their shares count. None: equal weights.

    Returns:
        float64 scores of shape ``[candidates]``, in units of standard deviations.

    Raises:
        InputError: there are no scores, the lengths differ, a score is not a finite number, or as for
            `normalized_weights`.

    Example:
        >>> fuse({"bm25": [4.0, 8.0], "limrank": [2.0, 0.0]}, {"bm25": 1, "limrank": 3}).tolist()
        [0.5, -0.5]
    """
    shares = normalized_weights(weights, list(scores))
    count = len(_finite(*next(iter(scores.items()))))
    return sum(
        (shares[name] * _z(checked_scores(name, values, count)) for name, values in scores.items()),
        np.zeros(count),
    )


def normalized_weights(weights: Mapping[str, float] | None, names: Sequence[str]) -> dict[str, float]:
    """Check weights, and scale them to a sum of 1.

    Args:
        weights: name to weight, at least 0; None: equal weights.
        names: what is fused.

    Returns:
        name to share, in the order of `names`.

    Raises:
        InputError: there is nothing to fuse, a name has no weight, a weight has no such name, or a weight is negative,
            not a finite number, or they are all 0.
    """
    if not names:
        raise InputError("there is nothing to fuse; give the scores of at least one system")
    if weights is None:
        return dict.fromkeys(names, 1 / len(names))
    if unknown := [name for name in weights if name not in names]:
        raise InputError(f"a fusion weight for {some(unknown)}, of which there are no scores; there are {some(names)}")
    if missing := [name for name in names if name not in weights]:
        raise InputError(f"no fusion weight for {some(missing)}; give one (0 to leave it out)")
    for name, weight in weights.items():
        if not isinstance(weight, Real) or not 0 <= weight < math.inf:
            raise InputError(f"the fusion weight of {name!r} is {weight!r}; give a number, at least 0")
    total = math.fsum(weights.values())
    if total == 0:
        raise InputError("all fusion weights are 0; give at least one that is above")
    return {name: float(weights[name]) / total for name in names}


def fusion_weights(option: Fuse, others: Sequence[str], model: Model) -> dict[str, float] | None:
    """The weights that an option `fuse` means.

    Args:
        option: True (the model's default weights), False (no fusion), the model's weight, of which the others share
            the rest equally, or name to weight, where the model is `MODEL`.
        others: the names of the scores beside the model's, the first stage's first; at least one.
        model: the model, for the default weights.

    Returns:
        The weights by name, the model's last, which sum to 1; or None for no fusion.

    Raises:
        InputError: the option is none of these, or another score has the model's name.
    """
    names = [*others, MODEL]
    if MODEL in others:
        raise InputError(f"{MODEL!r} is the name of the model's own scores when they are fused; give yours another one")
    if isinstance(option, Mapping):
        return normalized_weights(option, names)
    if isinstance(option, (bool, np.bool_)):
        if not option:
            return None
        if len(others) == 2:
            return normalized_weights(dict(zip(names, model.fuse_three, strict=True)), names)
        if len(others) > 2:
            return normalized_weights(None, names)  # nobody has measured more
        option = model.fuse
    if not isinstance(option, Real) or not 0 <= option <= 1:
        raise InputError(
            f"the fusion weight is {option!r}; give a number from 0 (first stage) to 1 (reranker), or weights by name"
        )
    share = float(option)
    return normalized_weights({**dict.fromkeys(others, (1 - share) / len(others)), MODEL: share}, names)


def weights_text(weights: Mapping[str, float]) -> str:
    """Weights in a message: ``bm25 0.333, minilm 0.333, limrank 0.333``."""
    return ", ".join(f"{name} {weight:.3g}" for name, weight in weights.items())


@dataclass(frozen=True)
class Coverage:
    """How much of what is fused a run has.

    Attributes:
        queries: the queries that are fused.
        absent: those that the run lacks; it has no say in them.
        documents: the documents that are fused, in the queries that the run has.
        missing: how many of them it lacks.
    """

    queries: int
    absent: Sequence[str]
    documents: int
    missing: int


@dataclass(frozen=True)
class FusedRun:
    """Several runs as one.

    Attributes:
        run: qid to (docno, fused score), best first; all documents of all runs, or the best k.
        weights: the weight of each run, by name; they sum to 1.
        coverage: what each run has of the fused documents, before the cutoff.
    """

    run: dict[str, list[tuple[str, float]]]
    weights: Mapping[str, float]
    coverage: Mapping[str, Coverage]


def fuse_runs(
    runs: Mapping[str, Scores],
    weights: Mapping[str, float] | None = None,
    *,
    method: Method = "z",
    k: int | None = None,
) -> FusedRun:
    """Fuse runs, query by query.

    Args:
        runs: name to the run. Queries may be in some of them only.
        weights: name to weight; None: equal weights.
        method: ``"z"``: the sum of ``weight * z(score)`` over all documents of a query (`fuse`), where a document that
            a run lacks has that run's lowest score for the query. ``"rrf"``: reciprocal rank fusion (Cormack et al.,
            SIGIR 2009), the sum of ``weight / (60 + rank)``, with ranks from 1 in trec_eval's order; a document that a
            run lacks gets nothing from it.
        k: the number of documents per query to keep; None: all.

    Returns:
        The fused run.

    Raises:
        InputError: as for `normalized_weights`; a score is not a finite number; or a run shares no query with another.

    Example:
        >>> runs = {"bm25": {"q": {"a": 3.0, "b": 1.0}}, "dense": {"q": {"b": 0.9, "c": 0.7}}}
        >>> [docno for docno, _ in fuse_runs(runs, method="rrf").run["q"]]
        ['b', 'a', 'c']
    """
    shares = normalized_weights(weights, list(runs))
    for name, run in runs.items():
        if others := dict.fromkeys(qid for other, found in runs.items() if other != name for qid in found):
            need_shared_queries(name, run, others)
    qids = dict.fromkeys(qid for run in runs.values() for qid, scores in run.items() if scores)
    documents = {qid: list(dict.fromkeys(docno for run in runs.values() for docno in run.get(qid, ()))) for qid in qids}
    fused: dict[str, list[tuple[str, float]]] = {}
    for qid, docnos in documents.items():
        of_query = {name: run.get(qid, {}) for name, run in runs.items()}
        if method == "rrf":
            scores = _reciprocal_ranks(of_query, shares, docnos)
        else:
            scores = fuse({name: filled(found, docnos) for name, found in of_query.items()}, shares)
        fused[qid] = trec_order(zip(docnos, scores.tolist(), strict=True))[:k]
    return FusedRun(fused, shares, {name: coverage(documents, run) for name, run in runs.items()})


def _reciprocal_ranks(
    runs: Mapping[str, Mapping[str, float]], shares: Mapping[str, float], docnos: Sequence[str]
) -> np.ndarray:
    sums = dict.fromkeys(docnos, 0.0)
    for name, scores in runs.items():
        _finite(name, list(scores.values()))
        for rank, (docno, _) in enumerate(trec_order(scores.items()), 1):
            sums[docno] += shares[name] / (RANK_CONSTANT + rank)
    return np.array(list(sums.values()))


def filled(scores: Mapping[str, float], docnos: Iterable[str]) -> list[float]:
    """A run's scores for a query's documents; those that it lacks have its lowest score (or 0, if it has none)."""
    lowest = min(scores.values(), default=0.0)
    return [scores.get(docno, lowest) for docno in docnos]


def need_shared_queries(name: str, run: Collection[str], others: Collection[str]) -> None:
    """Refuse a run of other topics.

    Args:
        name: the run, for the message.
        run: its queries.
        others: the queries of what it is fused with.

    Raises:
        InputError: there is no query in both.
    """
    if not any(qid in others for qid in run):
        raise InputError(
            f"{name}: none of its queries ({some(list(run))}) is in what it is fused with ({some(list(others))}); "
            "fuse runs of the same topics"
        )


def coverage(documents: Mapping[str, Collection[str]], run: Scores) -> Coverage:
    """Count what a run lacks.

    Args:
        documents: qid to the docnos that are fused.
        run: the run.

    Returns:
        The counts.
    """
    present = {qid: scores for qid in documents if (scores := run.get(qid))}
    return Coverage(
        queries=len(documents),
        absent=[qid for qid in documents if qid not in present],
        documents=sum(len(documents[qid]) for qid in present),
        missing=sum(docno not in scores for qid, scores in present.items() for docno in documents[qid]),
    )


def log_coverage(name: str, found: Coverage, *, method: Method = "z") -> None:
    """Say once what a run lacks, and what counts instead."""
    if found.absent:
        count, queries = len(found.absent), found.queries
        log.warning("%s: lacks %d of %d queries (%s); it has no say in them", name, count, queries, some(found.absent))
    if found.missing:
        instead = "count as its lowest of the query" if method == "z" else "get nothing from it"
        log.info("%s: lacks %d of %d documents, which %s", name, found.missing, found.documents, instead)


def checked_scores(name: str, scores: ArrayLike, candidates: int) -> np.ndarray:
    """Check scores that will be fused. Callers do this before hours of judging.

    Args:
        name: their name, for messages.
        scores: one score for each candidate of a query.
        candidates: the number of candidates.

    Returns:
        The scores, float64 of shape ``[candidates]``.

    Raises:
        InputError: there are fewer or more scores than candidates, or one is not a finite number.
    """
    found = _finite(name, scores)
    if len(found) != candidates:
        raise InputError(f"{name}: {len(found)} scores for {candidates} candidates; give one for each")
    return found


def _finite(name: str, scores: ArrayLike) -> np.ndarray:
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not numbers ({error}); give a list of numbers") from error
    if found.ndim != 1:
        raise InputError(f"{name}: an array of shape {found.shape}; give a list of numbers, one for each candidate")
    if len(bad := np.flatnonzero(~np.isfinite(found))):
        raise InputError(f"{name}: number {bad[0]} is {found[bad[0]]}; remove candidates without a finite score")
    return found


def _z(scores: np.ndarray) -> np.ndarray:
    if np.all(scores == scores[:1]):  # not "deviation == 0", which rounding can make tiny but positive
        return np.zeros_like(scores)
    scores = scores / np.abs(scores).max()  # z does not change, and squares neither overflow nor underflow
    return (scores - scores.mean()) / scores.std()
