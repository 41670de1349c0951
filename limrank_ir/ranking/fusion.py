"""Fusion: the reranker's log-odds and the first stage's scores, weighed into one score."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from limrank_ir.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def fuse(log_odds: ArrayLike, first_stage_scores: ArrayLike, weight: float) -> np.ndarray:
    """Fuse two scores of one query's candidates: ``weight * z(log_odds) + (1 - weight) * z(first_stage_scores)``.

    The rule is ERank's, there with a weight of 0.8. z(x) = (x - mean) / population standard deviation over the
    candidates, and 0 for each of them where all are equal, so that fused scores compare within a query only.

    Args:
        log_odds: the reranker's scores, shape ``[candidates]``.
        first_stage_scores: the first stage's scores of the same candidates, higher is better, shape ``[candidates]``.
        weight: the reranker's share, from 0 (the first stage's order) to 1 (the reranker's).

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
    """Read an option `fuse`.

    Args:
        option: True (the model's own weight), False (no fusion) or a weight.
        default: the model's own weight (`limrank_ir.models.Model.fuse`).

    Returns:
        The reranker's share, in [0, 1], or None for no fusion.

    Raises:
        InputError: the option is none of these.
    """
    if isinstance(option, (bool, np.bool_)):
        return default if option else None
    return _checked_weight(option)


def checked_scores(scores: ArrayLike, candidates: int) -> np.ndarray:
    """Check a first stage's scores; callers do this before hours are spent on judging.

    Args:
        scores: one score for each candidate of a query.
        candidates: how many candidates there are.

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
        raise InputError(f"{what}: number {bad[0]} is {found[bad[0]]}; fill or drop what has no finite score")
    return found


def _z(scores: np.ndarray) -> np.ndarray:
    if np.all(scores == scores[:1]):  # not "deviation == 0": rounding leaves equal scores a tiny one
        return np.zeros_like(scores)
    scores = scores / np.abs(scores).max()  # z is the same, and squares neither overflow nor vanish
    return (scores - scores.mean()) / scores.std()
