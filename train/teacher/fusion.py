"""From several teachers' scores to one, and how it is made to agree with the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..rows import Candidate

Scored = list[tuple[Candidate, float]]
"""A group's passages, each with the fused teacher's score."""


def fused(scores: Mapping[str, Sequence[Sequence[float]]], weights: Mapping[str, float]) -> list[list[float]]:
    """The weighted mean of several teachers' scores, each on the same scale.

    A teacher's scores are counted from the mean of their group, in units of their standard deviation within groups,
    taken over all groups of the source that have two passages. So a group whose passages a teacher finds nearly alike
    stays nearly flat; with the deviation of each group by itself, noise would count there as much as a clear difference
    does elsewhere.

    Args:
        scores: for each teacher, a score for each passage of each group of one source.
        weights: the weight of each teacher.

    Returns:
        The mean for each passage of each group.
    """
    total = sum(weights.values())
    means: list[np.ndarray] | None = None
    for name, rows in scores.items():
        parts = [weights[name] / total * row for row in _standardized(rows)]
        means = parts if means is None else [mean + part for mean, part in zip(means, parts, strict=True)]
    return [mean.tolist() for mean in means or ()]


def _standardized(rows: Sequence[Sequence[float]]) -> list[np.ndarray]:
    centered = [np.array(row, dtype=np.float64) - np.mean(row) for row in rows]
    several = [row for row in centered if len(row) > 1]
    spread = float(np.concatenate(several).std()) if several else 0.0
    return [row / spread if spread else row for row in centered]


def without_false_negatives(passages: Scored, margin: float) -> Scored:
    """Drop the negatives that the teacher puts too far above the best positive: they may be relevant.

    Args:
        passages: a group's passages with the fused teacher's scores.
        margin: how far above is too far, in the unit of `fused`.

    Returns:
        The others. A group without positives keeps all.
    """
    most = max((score for candidate, score in passages if candidate.label), default=float("inf")) + margin
    return [(candidate, score) for candidate, score in passages if candidate.label or score <= most]


def anchored(passages: Scored, margin: float) -> Scored:
    """Put the labeled positives at the top of the teacher's scores.

    A positive with a lower score than the best negative's plus a margin gets that; every other score stays, so the
    order among the negatives, which is what the labels do not say, is the teacher's.

    Args:
        passages: a group's passages with the fused teacher's scores.
        margin: how far a positive is above every negative at least, in the unit of `fused`.

    Returns:
        The passages with the new scores.
    """
    least = max((score for candidate, score in passages if not candidate.label), default=float("-inf")) + margin
    return [(candidate, max(score, least) if candidate.label else score) for candidate, score in passages]
