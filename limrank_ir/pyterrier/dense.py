"""Scores of a sentence encoder as a further column of a frame, to be fused with the reranker's."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd
import pyterrier as pt

from limrank_ir.pyterrier.frames import need_texts
from limrank_ir.retrieval import minilm
from limrank_ir.retrieval.similarity import DenseScorer


class DenseScores(pt.Transformer):
    """Adds a column with a sentence encoder's similarity of query and text. It changes neither ``score`` nor ``rank``.

    Unlike pyterrier_dr's encoders, it leaves the first stage's score in place, so that `LimRankReranker` can fuse both.

    Example:
        >>> three = {"score": 1, "minilm": 1, "limrank": 1}  # doctest: +SKIP
        >>> pipeline = bm25 % 100 >> text >> DenseScores() >> LimRankReranker(fuse=three)  # doctest: +SKIP
    """

    schematic: ClassVar = {"label": "Dense", "help_url": "https://arxiv.org/abs/1908.10084"}

    def __init__(
        self,
        column: str = minilm.NAME,
        *,
        encoder: str = minilm.NAME,
        text_field: str = "text",
        device: str | None = None,
    ) -> None:
        """Choose the encoder. Its weights load with the first frame that has rows.

        Args:
            column: the column to add.
            encoder: ``"minilm"``, or a sentence-transformers model: a folder or a hub id.
            text_field: the column with the passage.
            device: the device of the encoder; None: a GPU if available.

        Raises:
            InputError: sentence-transformers or MiniLM's weights are not installed.
        """
        self.column, self.text_field = column, text_field
        self.scorer = DenseScorer(encoder, device=device)

    def __repr__(self) -> str:
        return f"DenseScores({self.column!r}, encoder={self.scorer.encoder!r}, text_field={self.text_field!r})"

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other) if isinstance(other, DenseScores) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add the column.

        Args:
            inp: a frame with the columns ``qid``, ``docno``, ``query``, and the text field. It is not modified.

        Returns:
            The same rows with the column (float64).

        Raises:
            pt.validate.InputValidationError: a column is missing.
            InputError: a query or a text is missing, or the encoder cannot be loaded.
        """
        pt.validate.result_frame(inp, extra_columns=["query", self.text_field], context=self)
        need_texts(inp, ["query", self.text_field], repr(self))
        scores = self.scorer.predict(list(zip(inp["query"], inp[self.text_field], strict=True)))
        return inp.assign(**{self.column: pd.Series(scores, index=inp.index, dtype="float64")})
