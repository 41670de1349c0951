"""Checks of result frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from limrank_ir.errors import InputError


def need_texts(frame: pd.DataFrame, columns: list[str], who: str) -> None:
    """Refuse rows without a text before anything is judged.

    Args:
        frame: the result frame.
        columns: the columns that must have a text in each row.
        who: the transformer, for the message.

    Raises:
        InputError: a text is missing.
    """
    missing = frame[columns].isna()
    if missing.any(axis=None):
        column = next(name for name in columns if missing[name].any())
        row = frame[missing[column]].iloc[0]
        raise InputError(
            f"{who}: no {column!r} for qid {row['qid']!r}, docno {row['docno']!r} "
            f"({int(missing[column].sum())} rows); drop these rows, or check the text loader"
        )


def finite_scores(frame: pd.DataFrame, column: str, what: str, instead: str) -> np.ndarray:
    """A column of scores.

    Args:
        frame: the result frame.
        column: the column.
        what: who misses what, for the message.
        instead: what to do rather than filling in or dropping rows, for the message.

    Returns:
        The scores, float64 of shape ``[rows]``.

    Raises:
        InputError: a score is missing, or is not a finite number.
    """
    scores = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    missing = ~np.isfinite(scores)
    if missing.any():
        row = frame[missing].iloc[0]
        raise InputError(
            f"{what} for qid {row['qid']!r}, docno {row['docno']!r} ({int(missing.sum())} rows); fill in or drop these "
            f"rows, or {instead}"
        )
    return scores


def finite_vectors(frame: pd.DataFrame, column: str, size: int, who: str) -> np.ndarray:
    """A column of vectors.

    Args:
        frame: the result frame.
        column: the column.
        size: how many numbers a vector has.
        who: the transformer, for the message.

    Returns:
        The vectors, float32 of shape ``[rows, size]``.

    Raises:
        InputError: one has another shape, or a number that is not finite.
    """
    vectors = np.empty((len(frame), size), dtype=np.float32)
    wrong: dict[int, str] = {}
    for row, value in enumerate(frame[column]):
        problem = _put_vector(vectors[row], value)
        if problem:
            wrong[row] = problem
    if wrong:
        first, problem = next(iter(wrong.items()))
        row = frame.iloc[first]
        raise InputError(
            f"{who}: {column!r} for qid {row['qid']!r}, docno {row['docno']!r} {problem} ({len(wrong)} rows); give "
            f"vectors of the same encoder, each of {size} finite numbers"
        )
    return vectors


def _put_vector(place: np.ndarray, value: Any) -> str:
    """Copy a vector to its place; what is wrong with it, or nothing."""
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is not finite there
            vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        return "is not a list of numbers"
    if vector.shape != place.shape:
        return f"has the shape {list(vector.shape)}" if vector.ndim != 1 else f"has {len(vector)} numbers"
    place[:] = vector
    return "" if np.isfinite(vector).all() else "has a number that is not finite"
