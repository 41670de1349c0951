"""Long documents: their windows as rows of a frame."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt

from limrank_ir.pyterrier.frames import need_texts
from limrank_ir.ranking.windows import Windows, half


class SlidingWindows(pt.Transformer):
    """Splits the documents of a frame into windows of words, which are then judged one by one.

    Each row becomes one row per window, with ``docno`` as ``pt.text.max_passage`` expects it (``d1%p0``, ``d1%p1``,
    ...) and all other columns unchanged. The last window ends where the document ends.

    Example:
        >>> best = SlidingWindows(200, 100) >> LimRankReranker() >> pt.text.max_passage()  # doctest: +SKIP
        >>> pipeline = bm25 % 100 >> dataset.text_loader(["text"]) >> best  # doctest: +SKIP
    """

    schematic: ClassVar = {"label": "Windows", "help_url": "https://arxiv.org/abs/1905.09217"}

    def __init__(
        self, size: int, stride: int | None = None, *, text_field: str = "text", title_field: str | None = None
    ) -> None:
        """Choose the windows.

        Args:
            size: the number of words in a window.
            stride: the number of words from the start of one window to the start of the next; None: half a window.
            text_field: the column with the text. It will hold the window.
            title_field: a column whose text is put in front of every window, or None.

        Raises:
            InputError: a number is invalid (`limrank_ir.ranking.windows.Windows`).
        """
        self.windows = Windows(size, half(size) if stride is None else stride)
        self.text_field, self.title_field = text_field, title_field

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Split the documents of a frame.

        Args:
            inp: a frame with the columns ``qid``, ``docno``, ``query``, the text field, and the title field if it is
                set.

        Returns:
            A frame with one row for each window.

        Raises:
            pt.validate.InputValidationError: a column is missing.
            InputError: a text is missing.
        """
        needed = ["query", self.text_field]
        if self.title_field is not None:
            needed.append(self.title_field)
        pt.validate.result_frame(inp, extra_columns=needed, context=self)
        need_texts(inp, [self.text_field], "SlidingWindows")
        titles = [None] * len(inp)
        if self.title_field is not None:
            column = inp[self.title_field].astype(object)
            titles = list(column.where(column.notna(), None))
        parts = [self.windows.split(text, title) for text, title in zip(inp[self.text_field], titles, strict=True)]
        rows = np.repeat(np.arange(len(inp)), [len(part) for part in parts])
        out = inp.iloc[rows].reset_index(drop=True)
        numbers = [number for part in parts for number in range(len(part))]
        out["docno"] = [f"{docno}%p{number}" for docno, number in zip(out["docno"], numbers, strict=True)]
        out[self.text_field] = pd.Series([window for part in parts for window in part], dtype="object")
        return out
