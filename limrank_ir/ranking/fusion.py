"""Fusion: the weighted sum of the reranker's log-odds and the first-stage scores."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from limrank_ir.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def fuse(log_odds: ArrayLike, first_stage_scores: ArrayLike, weight: float) -> np.ndarray:
    """Fuse two scores of a query's candidates: ``weight * z(log_odds) + (1 - weight) * z(first_stage_scores)``.

    This is the rule of ERank, which uses a weight of 0.8. z(x) = (x - mean) / population standard deviation over the
    candidates, or 0 if all are equal. Fused scores are therefore comparable only within a query.

    Args:
        log_odds: the reranker's scores, shape ``[candidates]``.
        first_stage_scores: the first-stage scores of the same candidates, higher is better, shape ``[candidates]``.
        weight: the weight of the reranker, from 0 (the order of the first stage) to 1 (the order of the reranker).

    Returns:
        float64 scores of shape ``[candidates]``, in units of standard deviations.

    Raises:
        InputError: the lengths differ, a score is not a finite number, or the weight is not in [0, 1].

    Example:
        >>> fuse([2.0, 0.0], [4.0, 8.0], 0.75).tolist()
        [0.5, -0.5]
    """
    weight = _checked_weight(weight)
    odds = _finite("log-odds", log_odds)
    return weight * _z(odds) + (1 - weight) * _z(checked_scores(first_stage_scores, len(odds)))


def fusion_weight(option: bool | float, default: float) -> float | None:
    """The weight that an option `fuse` means.

    Args:
        option: True (the model's default weight), False (no fusion), or a weight.
        default: the model's default weight (`limrank_ir.models.Model.fuse`).

    Returns:
        The weight of the reranker, in [0, 1], or None for no fusion.

    Raises:
        InputError: the option is none of these.
    """
    if isinstance(option, (bool, np.bool_)):
        return default if option else None
    return _checked_weight(option)


def checked_scores(scores: ArrayLike, candidates: int) -> np.ndarray:
    """Check first-stage scores. Callers do this before hours of judging.

    Args:
        scores: one score for each candidate of a query.
        candidates: the number of candidates.

    Returns:
        The scores, float64 of shape ``[candidates]``.

    Raises:
        InputError: there are fewer or more scores than candidates, or one is not a finite number.
    """
    found = _finite("first-stage scores", scores)
    if len(found) != candidates:
        raise InputError(f"{len(found)} first-stage scores for {candidates} candidates; give one for each")
    return found


def _checked_weight(weight: float) -> float:
    if not isinstance(weight, Real) or not 0 <= weight <= 1:
        raise InputError(f"the fusion weight is {weight!r}; give a number from 0 (first stage) to 1 (reranker)")
    return float(weight)


def _finite(what: str, scores: ArrayLike) -> np.ndarray:
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: not numbers ({error}); give a list of numbers") from error
    if found.ndim != 1:
        raise InputError(f"{what}: an array of shape {found.shape}; give a list of numbers, one for each candidate")
    if len(bad := np.flatnonzero(~np.isfinite(found))):
        raise InputError(f"{what}: number {bad[0]} is {found[bad[0]]}; remove candidates without a finite score")
    return found


def _z(scores: np.ndarray) -> np.ndarray:
    if np.all(scores == scores[:1]):  # not "deviation == 0", which rounding can make tiny but positive
        return np.zeros_like(scores)
    scores = scores / np.abs(scores).max()  # z does not change, and squares neither overflow nor underflow
    return (scores - scores.mean()) / scores.std()
