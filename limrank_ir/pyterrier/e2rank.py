"""E2Rank: a sentence encoder as a listwise reranker (arXiv 2510.22733)."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt

from limrank_ir.errors import InputError
from limrank_ir.pyterrier.feedback import TEMPLATE, listwise_query
from limrank_ir.pyterrier.frames import finite_vectors, need_texts
from limrank_ir.pyterrier.orders import best_first, only_value
from limrank_ir.rankers.order import at_least
from limrank_ir.retrieval import minilm
from limrank_ir.retrieval.similarity import DenseScorer

log = logging.getLogger("limrank_ir")


class E2Rank(pt.Transformer):
    """Reranks by the cosine of passages with a query that has the best of them in it, as pseudo-relevance feedback.

    The query is embedded once, together with its first passages; the passages are embedded alone, equal ones once in a
    frame, or not at all if the frame has their vectors. Any sentence-transformers model works; E2Rank's own
    (``Alibaba-NLP/E2Rank-0.6B``, ``-4B``, ``-8B``) are trained for it, and need ``document_suffix="<|endoftext|>"``
    (github Alibaba-NLP/E2Rank: README.md).

    Example:
        >>> pipeline = bm25 % 100 >> text >> E2Rank()  # doctest: +SKIP
        >>> pipeline = encoder >> index.retriever() % 100 >> text >> index.vec_loader() >> E2Rank(
        ...     "Alibaba-NLP/E2Rank-0.6B", document_suffix="<|endoftext|>", vector_field="doc_vec"
        ... )  # doctest: +SKIP
    """

    schematic: ClassVar = {"label": "E2Rank", "help_url": "https://arxiv.org/abs/2510.22733"}

    def __init__(
        self,
        encoder: str = minilm.NAME,
        *,
        shown: int = 20,
        template: str = TEMPLATE,
        chat: bool = True,
        document_suffix: str = "",
        text_field: str = "text",
        vector_field: str | None = None,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        """Choose the encoder. Its weights load with the first frame that has rows.

        Args:
            encoder: ``"minilm"``, or a sentence-transformers model: a folder or a hub id.
            shown: how many passages are shown around the query, the first ones by ``rank`` or ``score``; 20 in the
                paper.
            template: the text around them, with ``{documents}`` and ``{query}``
                (`limrank_ir.pyterrier.feedback.TEMPLATE`, the published one for web search).
            chat: put it into the encoder's chat template if it has one, as E2Rank's models need it.
            document_suffix: text behind each passage that is embedded.
            text_field: the column with the passage.
            vector_field: a column with the passages' vectors, made by the same encoder, such as pyterrier_dr's
                ``doc_vec``; None: passages are embedded here.
            batch_size: texts that are embedded at once.
            device: the device of the encoder; None: a GPU if available.

        Raises:
            InputError: sentence-transformers or MiniLM's weights are not installed, or an option is invalid.
        """
        at_least(0, shown=shown)
        at_least(1, batch_size=batch_size)
        if any(template.count(field) != 1 for field in ("{documents}", "{query}")):
            raise InputError(f"the template {template!r} must have {{documents}} and {{query}}, each once")
        self.shown, self.template, self.chat = shown, template, chat
        self.document_suffix, self.text_field, self.vector_field = document_suffix, text_field, vector_field
        self.batch_size = batch_size
        self.scorer = DenseScorer(encoder, device=device)

    def __repr__(self) -> str:
        options = {"shown": 20, "template": TEMPLATE, "chat": True, "document_suffix": "", "text_field": "text"}
        options["vector_field"] = None
        given = [
            f"{name}={getattr(self, name)!r}" for name, default in options.items() if getattr(self, name) != default
        ]
        return f"E2Rank({', '.join([repr(self.scorer.encoder), *given])})"

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other) if isinstance(other, E2Rank) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rerank a result frame.

        Args:
            inp: a frame with the columns ``qid``, ``docno``, ``query``, the text field, and the vector field if it is
                set. It is not modified.

        Returns:
            The same rows in the same order with ``score`` (the cosine, float64) and ``rank`` (from 0). Passages that
            were cut to fit into the encoder are counted in a warning.

        Raises:
            pt.validate.InputValidationError: a column is missing.
            InputError: a query, a text, or a vector is missing, a vector is not one of this encoder's, a query has
                several texts, is too long, or leaves no room for passages, or the encoder cannot be loaded.
        """
        needed = ["query", self.text_field, *([] if self.vector_field is None else [self.vector_field])]
        pt.validate.result_frame(inp, extra_columns=needed, context=self)
        need_texts(inp, needed, repr(self))
        scores = pd.Series(self._scores(inp), index=inp.index, dtype="float64")
        return pt.model.add_ranks(inp.drop(columns=["score", "rank"], errors="ignore").assign(score=scores))

    def _scores(self, frame: pd.DataFrame) -> np.ndarray:
        scores = np.empty(len(frame))
        if frame.empty:
            return scores
        from sentence_transformers.util import cos_sim

        by_query = frame.groupby("qid", sort=False, dropna=False).indices.values()
        groups = [best_first(frame.iloc[rows], rows) for rows in by_query]
        given = None if self.vector_field is None else self._given(frame, self.vector_field)
        queries = self._queries(frame, groups)
        vectors, places = self._embedded(frame) if given is None else (given, np.arange(len(frame)))
        for rows, query in zip(groups, queries, strict=True):
            # One cosine for equal passages: a matrix product may round the same vector differently from row to row.
            own, back = np.unique(places[rows], return_inverse=True)
            scores[rows] = cos_sim(query, vectors[own])[0].double().cpu().numpy()[back]
        return scores

    def _queries(self, frame: pd.DataFrame, groups: list[np.ndarray]) -> Any:
        """The vectors of the queries with their first passages."""
        model = self.scorer.model
        queries = []
        for rows in groups:
            passages = frame[self.text_field].iloc[rows[: self.shown]].tolist()
            query = only_value(frame, rows, "query", repr(self))
            queries.append(listwise_query(model, self.template, query, passages, chat=self.chat))
        if cut := [query.cut for query in queries if query.cut]:
            log.warning(
                "%r: passages were cut in %d of %d listwise prompts (%d tokens in all) to fit into %d tokens",
                *(self, len(cut), len(queries), sum(cut), model.max_seq_length),
            )
        texts = [query.text for query in queries]
        return model.encode_query(
            texts,
            prompt=queries[0].prefix,
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
        )

    def _given(self, frame: pd.DataFrame, field: str) -> Any:
        """The vectors that the frame has."""
        import torch

        model = self.scorer.model
        # An encoder need not know its dimension before it has embedded something.
        size = model.get_embedding_dimension() or len(model.encode("", show_progress_bar=False))
        return torch.from_numpy(finite_vectors(frame, field, size, repr(self))).to(model.device)

    def _embedded(self, frame: pd.DataFrame) -> tuple[Any, np.ndarray]:
        """The passages' vectors, and which one each row has."""
        model = self.scorer.model
        places, texts = pd.factorize(frame[self.text_field])
        vectors = model.encode_document(
            [f"{text}{self.document_suffix}" for text in texts],
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        return vectors, places
