"""Measures of reproducibility: how close a second run is to the first (Breuer et al., SIGIR 2020, arXiv 2010.13447).

repro_eval, by the same authors, has them, too. Its Kendall's tau union depends on the documents' names and fails for
runs of different depths, its rank-biased overlap of two equal short rankings is below 1, and it imports a module that
SciPy is about to remove. So they are here; the tests compare them with repro_eval's wherever these differences don't
matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

PERSISTENCE = 0.95  # of rank-biased overlap, as in repro_eval
DEPTH = 1000  # documents of a ranking that count, as in repro_eval


def kendall_tau_union(original: Sequence[str], reproduced: Sequence[str]) -> float | None:
    """Kendall's tau union of two rankings.

    The union lists the documents of the original in their order, and then those that only the reproduction has. Each
    ranking becomes the list of its documents' places in the union, and tau compares both lists, place by place
    (section 3.1 of the paper). For two orders of the same documents, this is the usual tau. It says nothing about how
    many documents both rankings share: read it beside `overlap`.

    repro_eval sorts the union by the documents' names instead, so that its value depends on them.

    Args:
        original: document ids, best first.
        reproduced: the same for the other run; what is deeper than the shorter ranking does not count.

    Returns:
        -1 to 1; or None if it is undefined: fewer than two places, or no document in both rankings.

    Example:
        >>> kendall_tau_union(["a", "b", "c"], ["a", "c", "b"])
        0.33333333333333
        >>> kendall_tau_union(["a", "b", "c"], ["a", "b", "d"])  # the same order in the union a b c d
        1.0
    """
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    depth = min(len(original), len(reproduced), DEPTH)
    one, other = original[:depth], reproduced[:depth]
    if depth < 2 or not set(one) & set(other):
        return None
    places = {docno: place for place, docno in enumerate(dict.fromkeys([*one, *other]))}
    tau = kendalltau([places[docno] for docno in one], [places[docno] for docno in other]).statistic
    return round(float(tau), 14)  # like repro_eval: the same order is exactly 1


def rank_biased_overlap(original: Sequence[str], reproduced: Sequence[str], persistence: float = PERSISTENCE) -> float:
    """Rank-biased overlap of two rankings: the shared part of every top, weighted by persistence**depth.

    Webber et al. (TOIS 2010) define it for rankings without end. Like repro_eval, this sums to a depth and divides by
    the weights; the depth is that of the longer ranking here and 1,000 there.

    Args:
        original: document ids, best first.
        reproduced: the same for the other run.
        persistence: how likely a reader goes on to the next document, above 0 and below 1.

    Returns:
        0 (no document in both) to 1 (the same rankings).

    Example:
        >>> rank_biased_overlap(["a", "b"], ["a", "b"])
        1.0
    """
    one: set[str] = set()
    other: set[str] = set()
    total = weights = 0.0
    for place in range(min(max(len(original), len(reproduced)), DEPTH)):
        one.update(original[place : place + 1])
        other.update(reproduced[place : place + 1])
        weight = persistence**place
        total += weight * len(one & other) / (place + 1)
        weights += weight
    return total / weights if weights else 0.0


def overlap(original: Sequence[str], reproduced: Sequence[str]) -> float:
    """The share of documents that both rankings have, of those that the longer one has."""
    return len(set(original) & set(reproduced)) / max(1, len(original), len(reproduced))


def rmse(original: Sequence[float], reproduced: Sequence[float]) -> float:
    """Root mean square error of effectiveness (section 3.2 of the paper).

    Args:
        original: each query's value of a measure; at least one.
        reproduced: the same queries' values with the other run.

    Returns:
        0 if all queries have the same values.

    Example:
        >>> rmse([0.5, 0.5], [0.5, 0.1])
        0.28284271247461906
    """
    squares = [(one - other) ** 2 for one, other in zip(original, reproduced, strict=True)]
    return math.sqrt(math.fsum(squares) / len(squares))


def effect_ratio(
    baseline: Sequence[float], advanced: Sequence[float], baseline_again: Sequence[float], again: Sequence[float]
) -> float | None:
    """Effect ratio: how much of the improvement over a baseline is there again (section 3.3 of the paper).

    Args:
        baseline: each query's value with the original baseline.
        advanced: with the original run.
        baseline_again: with the reproduction's baseline.
        again: with the reproduction.

    Returns:
        1 for the same improvement, 0 for none, below 0 for the opposite; None if the original has no improvement.

    Example:
        >>> effect_ratio([0.2, 0.4], [0.4, 0.6], [0.2, 0.4], [0.3, 0.5])
        0.5
    """
    improvement = _mean(advanced) - _mean(baseline)
    return (_mean(again) - _mean(baseline_again)) / improvement if abs(improvement) > 1e-12 else None


def delta_relative_improvement(
    baseline: Sequence[float], advanced: Sequence[float], baseline_again: Sequence[float], again: Sequence[float]
) -> float | None:
    """Delta relative improvement: the original's relative improvement over its baseline, minus the reproduction's.

    Args:
        baseline: as for `effect_ratio`.
        advanced: as for `effect_ratio`.
        baseline_again: as for `effect_ratio`.
        again: as for `effect_ratio`.

    Returns:
        0 for the same relative improvement, above 0 if the reproduction improves less; None if a baseline is 0.

    Example:
        >>> round(delta_relative_improvement([0.4], [0.6], [0.4], [0.5]), 6)
        0.25
    """
    one, other = _mean(baseline), _mean(baseline_again)
    if not one or not other:
        return None
    return (_mean(advanced) - one) / one - (_mean(again) - other) / other


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
