"""Checks of result frames."""

from __future__ import annotations

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
