"""Whether P(true) can be read as a probability: the reliability table, the Brier score, and the calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Bins = Literal["width", "mass"]
"""Bins of equal width, or of equal numbers of pairs."""

BINS = get_args(Bins)
COUNT = 10  # bins


@dataclass(frozen=True)
class Bin:
    """One row of the reliability table.

    Attributes:
        low: the lowest probability that falls into it.
        high: the highest one.
        pairs: how many pairs do.
        predicted: the mean of their P(true).
        relevant: the share of them that is relevant.
    """

    low: float
    high: float
    pairs: int
    predicted: float
    relevant: float


@dataclass(frozen=True)
class Calibration:
    """How well probabilities meet judgments.

    Attributes:
        pairs: judged pairs.
        relevant: the share of them that is relevant.
        brier: the Brier score, the mean squared difference of P(true) and 0 or 1: 0 is perfect, and someone who always
            says `relevant` gets ``relevant * (1 - relevant)``.
        ece: the expected calibration error, the mean over the pairs of their bin's ``abs(predicted - relevant)``.
        bins: the reliability table, by rising probability, without empty bins.
    """

    pairs: int
    relevant: float
    brier: float
    ece: float
    bins: list[Bin]


def calibration(
    log_odds: Sequence[float], relevant: Sequence[bool], *, bins: Bins = "width", count: int = COUNT
) -> Calibration:
    """Compare P(true) with judgments.

    Args:
        log_odds: one for each judged pair, natural logarithm; P(true) is ``1 / (1 + exp(-log_odds))``.
        relevant: whether the pair is judged relevant, in the same order.
        bins: how to cut the table: ``width`` (0 to 0.1, 0.1 to 0.2, ...; Guo et al., arXiv 1706.04599) or ``mass``
            (the same number of pairs in each, up to one; Nixon et al., arXiv 1904.01685).
        count: the number of bins.

    Returns:
        The comparison.

    Example:
        >>> found = calibration([2.0, 1.0, -3.0, -1.0], [True, False, False, False], count=2)
        >>> [(row.pairs, round(row.predicted, 2), row.relevant) for row in found.bins]
        [(2, 0.16, 0.0), (2, 0.81, 0.5)]
    """
    odds, truth = np.asarray(log_odds, dtype=np.float64), np.asarray(relevant, dtype=np.float64)
    probabilities = np.exp(-np.logaddexp(0.0, -odds))  # without overflow
    order = np.argsort(odds, kind="stable")
    if bins == "mass":
        members = np.array_split(order, count)
    else:
        places = np.minimum((probabilities[order] * count).astype(int), count - 1)  # 1.0 belongs to the last bin
        members = [order[places == place] for place in range(count)]
    table = [_bin(probabilities[pairs], truth[pairs]) for pairs in members if len(pairs)]
    return Calibration(
        pairs=len(odds),
        relevant=float(truth.mean()),
        brier=float(np.mean((probabilities - truth) ** 2)),
        ece=sum(row.pairs * abs(row.predicted - row.relevant) for row in table) / len(odds),
        bins=table,
    )


def _bin(probabilities: np.ndarray, truth: np.ndarray) -> Bin:
    return Bin(
        low=float(probabilities.min()),
        high=float(probabilities.max()),
        pairs=len(truth),
        predicted=float(probabilities.mean()),
        relevant=float(truth.mean()),
    )
