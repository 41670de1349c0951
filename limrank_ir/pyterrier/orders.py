"""The orders of a ranker, as scores of a result frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from limrank_ir.errors import InputError
from limrank_ir.pyterrier.frames import finite_scores
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.order import Candidates, Ranker
from limrank_ir.rankers.run import rank_candidates


def order_scores(
    frame: pd.DataFrame, text_field: str, ask: EngineAsk, ranker: Ranker, *, who: str, verbose: bool = False
) -> pd.Series:
    """Rank the rows of each query, all queries together.

    Args:
        frame: a result frame without missing texts. A query's rows are seen in the order of ``rank``, of ``score``, or
            of the frame, whichever there is first; ``score`` are the first stage's scores.
        text_field: the column with the passage.
        ask: answers the ranker's questions.
        ranker: the ranker.
        who: the transformer, for messages.
        verbose: whether to draw a progress bar.

    Returns:
        The scores of the orders (`limrank_ir.rankers.order.Order.scores`), by row.

    Raises:
        InputError: the rows of a query have several texts of it or several instructions, or a score is missing.
    """
    scores = None
    if "score" in frame.columns:
        scores = finite_scores(frame, "score", f"{who}: no finite 'score', which rankers may use,", "drop the column")
    groups = [
        best_first(frame.iloc[rows], rows) for rows in frame.groupby("qid", sort=False, dropna=False).indices.values()
    ]
    queries = [
        Candidates(
            query=only_value(frame, rows, "query", who),
            texts=frame[text_field].iloc[rows].tolist(),
            scores=None if scores is None else scores[rows].tolist(),
            instruction=only_value(frame, rows, "instruction", who) if "instruction" in frame.columns else None,
        )
        for rows in groups
    ]
    found = np.empty(len(frame))
    for number, order in rank_candidates(ask, ranker, queries, show_progress_bar=verbose):
        found[groups[number][list(order.indices)]] = order.scores
    return pd.Series(found, index=frame.index, dtype="float64")


def best_first(group: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """The rows of a query in the order of the first stage."""
    if "rank" in group.columns:
        return rows[np.argsort(group["rank"].to_numpy(), kind="stable")]
    if "score" in group.columns:
        return rows[np.argsort(-group["score"].to_numpy(dtype="float64"), kind="stable")]
    return rows


def only_value(frame: pd.DataFrame, rows: Sequence[int] | np.ndarray, column: str, who: str) -> Any:
    """What all rows of a query say in a column; None if it is missing."""
    values = frame[column].iloc[rows]
    if values.nunique(dropna=False) > 1:
        qid = frame["qid"].iloc[rows[0]]
        raise InputError(
            f"{who}: qid {qid!r} has several values of {column!r}; a ranker needs one for all its passages"
        )
    return None if pd.isna(values.iloc[0]) else values.iloc[0]
