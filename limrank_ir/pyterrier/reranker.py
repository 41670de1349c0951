"""The reranker as a PyTerrier transformer, alone and fused with the scores of earlier stages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Literal, Unpack

import numpy as np
import pandas as pd
import pyterrier as pt

from limrank_ir.errors import InputError
from limrank_ir.models import DEFAULT, ModelOptions, set_options
from limrank_ir.pyterrier.frames import finite_scores, need_texts
from limrank_ir.pyterrier.orders import order_scores
from limrank_ir.rankers.fit import engine_ask
from limrank_ir.rankers.named import as_ranker, spec
from limrank_ir.rankers.order import Ranker
from limrank_ir.ranking.fusion import MODEL, Fuse, fusion_weights
from limrank_ir.ranking.fusion import fuse as fuse_scores
from limrank_ir.reranker import LimRank, as_limrank

log = logging.getLogger("limrank_ir")

SCORE = "score"  # the column of the stage in front


class LimRankReranker(pt.Transformer):
    """Reranks a result frame with `limrank_ir.LimRank`.

    It needs the columns ``qid``, ``docno``, ``query``, and the text. It sets ``score`` and ``rank`` and keeps all rows,
    their order, and all other columns. If there is a column ``instruction``, it is put in the prompt.

    All rows of a frame are judged together, not query by query, and repeated pairs are judged once. The model is loaded
    with the first frame that has rows.

    Caveats: `ScorerCache` drops ``reasoning`` and does not know which model filled it. `KeyValueCache` keeps
    ``reasoning`` but not ranks (append ``pt.apply.generic(pt.model.add_ranks)``). The `store` has neither problem and
    saves batch by batch. A fused score, or one of a `ranker`, depends on the whole list; use the `store` instead of a
    cache there.

    Example:
        >>> import pyterrier as pt  # doctest: +SKIP
        >>> pipeline = bm25 % 100 >> dataset.text_loader(["text"]) >> LimRankReranker()  # doctest: +SKIP
        >>> fused = bm25 % 100 >> dataset.text_loader(["text"]) >> LimRankReranker(fuse=True)  # doctest: +SKIP
        >>> sets = bm25 % 100 >> dataset.text_loader(["text"]) >> LimRankReranker(ranker="setwise")  # doctest: +SKIP
        >>> pt.Experiment([bm25, pipeline], topics, qrels, ["ndcg_cut_10"])  # doctest: +SKIP
    """

    # With a help_url, PyTerrier does not download its documentation's inventory to draw this box.
    schematic: ClassVar = {"label": "LimRank", "help_url": "https://arxiv.org/abs/2510.23544"}

    def __init__(
        self,
        model: str | LimRank = DEFAULT,
        *,
        text_field: str = "text",
        score: Literal["log_odds", "probability"] = "log_odds",
        explain: bool = False,
        fuse: Fuse = False,
        top_k: int | None = None,
        ranker: str | Ranker | None = None,
        set_formats: Sequence[str] | None = None,
        verbose: bool = False,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Choose a model and what to return.

        Args:
            model: a name, folder, or hub id; or a `LimRank`, which several transformers may share. A `LimRank` has its
                own options, so giving others together with it is an error.
            text_field: the column with the passage.
            score: ``"log_odds"`` (for ranking), or ``"probability"``: P(true), as in the paper. P(true) saturates, and
                evaluation then breaks ties by document id.
            explain: add a column ``reasoning`` (None if the model did not think) and, with `fuse`, ``log_odds``.
            fuse: rank by the model's log-odds and the frame's scores together (`limrank_ir.fuse`), over the judged
                rows of each query: True for the model's default weight (`limrank_ir.models.Model.fuse`), a weight
                from 0 (the frame's ``score`` only) to 1 (the model only), or column to weight, where the model is
                ``"limrank"``: ``{"score": 1, "minilm": 1, "limrank": 1}``.
            top_k: judge only the first k results of each query and drop the rest. The frame then needs ``rank``.
            ranker: rank by another ranker than the verdicts alone (`limrank_ir.rankers.named.as_ranker`), such as
                ``"setwise:top=10"``. All queries of a frame are ranked together. It sees the rows of a query in the
                order of ``rank``, or of ``score``, or of the frame, and the column ``score``, if there is one. The new
                ``score`` is that of its order (`limrank_ir.rankers.order.Order`).
            set_formats: with `ranker`, names of formats for its questions (`limrank_ir.prompts.sets.SET_FORMATS`).
            verbose: draw a progress bar.
            options: how to run a model that is given by name (`limrank_ir.models.ModelOptions`).

        Raises:
            InputError: an option is unknown or invalid, or is given together with a `LimRank`; or `explain`, `fuse`, or
                a probability is asked of a ranker, which gives an order and no verdicts.
        """
        if score not in ("log_odds", "probability"):
            raise InputError(f"score is {score!r}; choose 'log_odds' or 'probability'")
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; it must be at least 1")
        self.model = model
        self.text_field = text_field
        self.score = score
        self.explain = explain
        self.fuse = fuse
        self.top_k = top_k
        self.ranker = ranker
        self.set_formats = set_formats or None  # PyTerrier takes an empty list for one of transformers
        self.verbose = verbose
        self.options = set_options(options)
        self._limrank = as_limrank(model, options)
        self._columns = [SCORE]  # what is fused with the model
        if isinstance(fuse, Mapping):
            self._columns = [name for name in fuse if name != MODEL]
            if not self._columns:
                raise InputError(f"fuse={dict(fuse)!r} has no column to fuse with the model; give one, such as 'score'")
        self._weights = fusion_weights(fuse, self._columns, self._limrank.model)
        if self._weights is not None and score == "probability":
            raise InputError("score='probability' cannot be fused because it saturates; leave out score or fuse")
        self._ranker = None if ranker is None else as_ranker(ranker)
        self._check_ranker()

    def _check_ranker(self) -> None:
        """Refuse what has no effect, before any frame comes."""
        if self._ranker is None:
            if self.set_formats:
                raise InputError("set_formats has no effect without ranker; add ranker='setwise', or leave it out")
            return
        given = {"explain": self.explain, "fuse": self._weights is not None, "score": self.score == "probability"}
        for name in (name for name, value in given.items() if value):
            raise InputError(
                f"{name}={getattr(self, name)!r} does not go with ranker={self.ranker!r}, which gives an order and no "
                f"verdicts; leave out {name}"
            )
        engine_ask(self._limrank, self._ranker, self.set_formats or ())

    def __repr__(self) -> str:
        """The model and the options that differ from their defaults."""
        defaults = {"text_field": "text", "score": "log_odds", "explain": False, "fuse": False, "top_k": None}
        defaults |= {"ranker": None, "set_formats": None}
        arguments = [repr(self.model)]
        for name, default in defaults.items():
            value = getattr(self, name)
            if repr(value) != repr(default):  # compared as text, because 0.0 == False
                arguments.append(f"{name}={value!r}")
        arguments += [f"{name}={value!r}" for name, value in self.options.items()]
        return f"LimRankReranker({', '.join(arguments)})"

    def _key(self) -> tuple[Any, ...]:
        """Everything that changes the output, so not `verbose`, `store`, `device`, or `batch_size`."""
        model = id(self.model) if isinstance(self.model, LimRank) else self.model
        options = {name: value for name, value in self.options.items() if name not in ("store", "device", "batch_size")}
        weights = None if self._weights is None else tuple(sorted(self._weights.items()))
        ranker = None if self._ranker is None else spec(self._ranker)
        own = (self.text_field, self.score, self.explain, weights, self.top_k, ranker, tuple(self.set_formats or ()))
        return (type(self), model, tuple(sorted(options.items())), *own)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, LimRankReranker) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rerank a result frame.

        Args:
            inp: a frame with the columns ``qid``, ``docno``, ``query``, the text field, ``score`` (or the columns with
                a weight) if `fuse` is set, and ``rank`` if `top_k` is set. It is not modified.

        Returns:
            The same rows in the same order with ``score`` (float64), ``rank`` (from 0), and, with ``explain=True``,
            ``reasoning`` and, if fused, ``log_odds``; with `top_k`, only the first rows of each query.

        Raises:
            pt.validate.InputValidationError: a column is missing.
            InputError: a query, a text, or a score to fuse is missing; or, with `ranker`, a query has several texts or
                instructions.
            LimRankError: as for `limrank_ir.LimRank.judge`.
        """
        self._validate(inp)
        if self.top_k is not None:
            inp = self._cut(inp, self.top_k)
        if self._ranker is not None:
            need_texts(inp, ["query", self.text_field], repr(self))
            ask = engine_ask(self._limrank, self._ranker, self.set_formats or ())
            orders = order_scores(inp, self.text_field, ask, self._ranker, who=repr(self), verbose=self.verbose)
            return pt.model.add_ranks(inp.drop(columns=["rank", SCORE], errors="ignore").assign(**{SCORE: orders}))
        others = None if self._weights is None else self._others(inp)  # checked before anything is judged
        verdicts = self._judge(inp)
        log_odds = [verdict.log_odds for verdict in verdicts]
        scores = [verdict.probability for verdict in verdicts] if self.score == "probability" else log_odds
        if others is not None:
            scores = self._fused(inp["qid"], {**others, MODEL: np.array(log_odds)})
        added = {"score": pd.Series(scores, index=inp.index, dtype="float64")}
        if self.explain:
            thoughts = [verdict.reasoning for verdict in verdicts]
            added["reasoning"] = pd.Series(thoughts, index=inp.index, dtype="object")
        if self.explain and others is not None:
            added["log_odds"] = pd.Series(log_odds, index=inp.index, dtype="float64")
        return pt.model.add_ranks(inp.drop(columns=["rank", *added], errors="ignore").assign(**added))

    def _cut(self, frame: pd.DataFrame, top_k: int) -> pd.DataFrame:
        """The first rows of each query. PyTerrier's ranks start at 0, but those in files of other tools often at 1."""
        if frame.empty:
            return frame
        first = frame["rank"].min()
        if first > 0:
            log.warning("ranks start at %s, not at 0 as in PyTerrier; top_k=%d counts from %s", first, top_k, first)
        return frame[frame["rank"] < first + top_k]

    def _validate(self, frame: pd.DataFrame) -> None:
        needed = ["query", self.text_field]
        if self.top_k is not None:
            needed.append("rank")
        fused = [] if self._weights is None else self._columns
        try:
            pt.validate.result_frame(frame, extra_columns=[*needed, *fused], context=self)
        except pt.validate.InputValidationError as error:
            missing = [column for column in fused if column not in frame.columns]
            if not missing:
                raise
            stage = "a retriever" if missing == [SCORE] else "the stage that makes it"
            hint = f"fuse needs the column {missing[0]!r}; put {stage} in front, or leave out fuse."
            raise pt.validate.InputValidationError(f"{hint} {error.args[0]}", error.modes) from error

    def _others(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """The scores to fuse with the model's, by column."""
        return {
            column: finite_scores(frame, column, f"{self!r}: no finite {column!r} to fuse", "leave out fuse")
            for column in self._columns
        }

    def _fused(self, qids: pd.Series, scores: dict[str, np.ndarray]) -> list[float]:
        fused = np.empty(len(qids))
        for rows in qids.groupby(qids, sort=False, dropna=False).indices.values():
            fused[rows] = fuse_scores({name: values[rows] for name, values in scores.items()}, self._weights)
        return fused.tolist()

    def _judge(self, frame: pd.DataFrame) -> list[Any]:
        need_texts(frame, ["query", self.text_field], repr(self))
        pairs: list[Any] = list(zip(frame["query"], frame[self.text_field], strict=True))
        if "instruction" in frame.columns:
            instructions = frame["instruction"].astype(object).where(frame["instruction"].notna(), None)
            pairs = [(*pair, instruction) for pair, instruction in zip(pairs, instructions, strict=True)]
        if not self.verbose or not pairs:
            return self._limrank.judge(pairs)
        with pt.tqdm(total=len(pairs), desc=self._limrank.model.name, unit="pair") as bar:
            return self._limrank.judge(pairs, progress=bar.update)

    def compile(self) -> pt.Transformer:
        """Make the cutoff of `top_k` visible to PyTerrier, so that it can ask the first stage for fewer results.

        Returns:
            ``pt.RankCutoff(top_k) >> self``, or this transformer if there is no `top_k`.
        """
        if self.top_k is None:
            return self
        uncut = copy(self)
        uncut.top_k = None
        return pt.RankCutoff(self.top_k) >> uncut
