"""Question decomposition: sub-questions retrieve or are scored, and their results become one (arXiv 2507.00355).

Two orders of the pieces are of use:

- ``Decompose(split) >> bm25 >> MergePools() >> text >> limrank``: each sub-question retrieves, the pools are merged,
  and the merged pool is scored against the original question, as in the paper.
- ``bm25 >> text >> Decompose(split) >> limrank >> MergePools("max")``: each passage is scored against each
  sub-question, and gets the maximum or the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyterrier as pt

from limrank_ir.errors import InputError
from limrank_ir.pyterrier.frames import finite_scores
from limrank_ir.pyterrier.orders import only_value
from limrank_ir.pyterrier.subquestions import SubQuestions

Split: TypeAlias = Callable[[str], Iterable[str]]
"""A function from a query to its sub-questions."""

By = Literal["rank", "max", "mean"]
_DERIVED = ["query_toks", "query_vec"]  # made of a query's text, so of no use with another text


class Decompose(pt.Transformer):
    """Replaces each query by its sub-questions, in a frame of topics or of results.

    The sub-questions of ``q1`` have the qids ``q1/1``, ``q1/2``, ..., and the query itself stays as ``q1/0``. In each
    of their rows, ``query_0`` is the original query, as after any query rewriting of PyTerrier. A query without
    sub-questions is used alone.

    Example:
        >>> pools = Decompose(SubQuestions("gpt-4.1-mini", journal="sub.sqlite")) >> bm25 % 20  # doctest: +SKIP
        >>> pipeline = pools >> MergePools() >> text >> LimRankReranker()  # doctest: +SKIP
    """

    schematic: ClassVar = {"label": "Decompose", "help_url": "https://arxiv.org/abs/2507.00355"}

    def __init__(self, split: Split | SubQuestions, *, original: bool = True) -> None:
        """Choose where sub-questions come from.

        Args:
            split: a function that gets a query and returns its sub-questions, or `SubQuestions`, which asks a chat
                model.
            original: whether the query itself stays, too. Where it has no sub-questions, it always does.
        """
        self.split, self.original = split, original

    def __repr__(self) -> str:
        return f"Decompose({self.split!r}{'' if self.original else ', original=False'})"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Replace the queries.

        Args:
            inp: a frame with the columns ``qid`` and ``query``, of topics or of results. It is not modified.

        Returns:
            A row for each row and each sub-question, with the columns of `inp`, and ``query_0``. Columns that were made
            of the query's text (``query_toks``, ``query_vec``) are left out.

        Raises:
            pt.validate.InputValidationError: a column is missing.
            InputError: a query is missing or not the same in all its rows, or `split` returns something else than a
                list of texts.
            LimRankError: as for `SubQuestions`.
        """
        with pt.validate.any(inp) as frame:
            frame.query_frame(extra_columns=["query"])
            frame.result_frame(extra_columns=["query"])
        queries = {
            qid: self._query(inp, rows) for qid, rows in inp.groupby("qid", sort=False, dropna=False).indices.items()
        }
        parts = self._parts(list(dict.fromkeys(queries.values())))
        shown = [parts[queries[qid]] for qid in inp["qid"]]
        rows = np.repeat(np.arange(len(inp)), [len(part) for part in shown])
        out = pt.model.push_queries(inp.drop(columns=_DERIVED, errors="ignore"), keep_original=True)
        out = out.iloc[rows].reset_index(drop=True)
        numbers = [number for part in shown for number in part]
        out["qid"] = pd.Series(
            [f"{qid}/{number}" for qid, number in zip(out["qid"], numbers, strict=True)], dtype="object"
        )
        out["query"] = pd.Series([text for part in shown for text in part.values()], dtype="object")
        return out

    def _query(self, frame: pd.DataFrame, rows: np.ndarray) -> str:
        query = only_value(frame, rows, "query", repr(self))
        if not isinstance(query, str):
            raise InputError(f"{self!r}: no query for qid {frame['qid'].iloc[rows[0]]!r}; drop it")
        return query

    def _parts(self, queries: list[str]) -> dict[str, dict[int, str]]:
        """For each query, its sub-questions by number."""
        found = (
            self.split(queries) if isinstance(self.split, SubQuestions) else [self.split(query) for query in queries]
        )
        parts = {}
        for query, listed in zip(queries, found, strict=True):
            texts: list[Any] = list(listed) if isinstance(listed, Iterable) and not isinstance(listed, str) else [None]
            if not all(isinstance(text, str) and text.strip() for text in texts):
                raise InputError(f"{self!r}: gives {listed!r} for the query {query[:60]!r}; it must be a list of texts")
            others = {number: text for number, text in enumerate(dict.fromkeys(texts), 1) if text != query}
            parts[query] = {0: query, **others} if self.original or not others else others
        return parts


class MergePools(pt.Transformer):
    """Makes the results of sub-questions results of their query again, each document once.

    Example:
        >>> scored = bm25 >> text >> Decompose(split) >> LimRankReranker() >> MergePools("mean")  # doctest: +SKIP
    """

    schematic: ClassVar = {"label": "Merge", "help_url": "https://arxiv.org/abs/2507.00355"}

    def __init__(self, by: By = "rank") -> None:
        """Choose how documents are ordered.

        Args:
            by: ``"rank"``: by their best rank, and of equal ones, the earlier sub-question's first, for scores that do
                not compare between questions, such as BM25's; the score is the place from the end. ``"max"`` or
                ``"mean"``: by that of their scores.

        Raises:
            InputError: it is none of these.
        """
        if by not in get_args(By):
            raise InputError(f"pools are merged by {by!r}; choose {', '.join(get_args(By))}")
        self.by = by

    def __repr__(self) -> str:
        return f"MergePools({self.by!r})"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Merge results.

        Args:
            inp: a frame with the columns ``qid`` and ``query_0`` as `Decompose` makes them, ``docno``, ``query``, and
                ``rank`` or ``score``. It is not modified.

        Returns:
            A row for each document of a query, best first, with the original query, ``score`` (float64), and ``rank``
            (from 0). Other columns are those of the document's best row.

        Raises:
            pt.validate.InputValidationError: a column is missing.
            InputError: a qid is not that of a sub-question, a score is missing, or, with ``"mean"``, a document was not
                scored for each of the sub-questions.
        """
        needed = ["query", "query_0", "rank" if self.by == "rank" else "score"]
        pt.validate.result_frame(inp, extra_columns=needed, context=self)
        frame = inp.drop(columns=_DERIVED, errors="ignore").reset_index(drop=True)
        names = frame["qid"].astype(str).str.extract(r"^(?P<qid>.*)/(?P<number>[0-9]+)$").astype(object)
        if names["qid"].isna().any():
            wrong = frame["qid"][names["qid"].isna()].iloc[0]
            raise InputError(f"{self!r}: {wrong!r} is no qid of a sub-question, such as q1/2; put Decompose in front")
        frame["qid"], number = names["qid"], names["number"].astype("int64")
        if self.by == "rank":
            key = frame["rank"].to_numpy(dtype="float64")
        else:
            key = -finite_scores(frame, "score", f"{self!r}: no finite 'score'", "merge by rank")
        first = pd.factorize(frame["qid"])[0]  # queries keep their order
        order = np.lexsort((number, key, first))
        best = frame.iloc[order].drop_duplicates(["qid", "docno"])
        if self.by == "mean":
            best = best.assign(score=self._means(frame, number, best))
            best = best.iloc[np.lexsort((-best["score"], first[best.index]))]
        elif self.by == "rank":
            best = best.assign(score=best.groupby("qid", sort=False).cumcount(ascending=False) + 1.0)
        best = best.assign(score=best["score"].astype("float64")).reset_index(drop=True)
        return pt.model.add_ranks(pt.model.pop_queries(best))

    def _means(self, frame: pd.DataFrame, number: pd.Series, best: pd.DataFrame) -> np.ndarray:
        """The mean score of each of the best rows' documents, over all sub-questions of the query."""
        asked = number.groupby(frame["qid"]).nunique()
        found = frame.groupby(["qid", "docno"])["score"].agg(["mean", "size"])
        found = found.loc[pd.MultiIndex.from_frame(best[["qid", "docno"]])]
        wanted = asked.loc[best["qid"]].to_numpy()
        if (wrong := found["size"].to_numpy() != wanted).any():
            place = int(np.argmax(wrong))
            qid, docno = best.iloc[place][["qid", "docno"]]
            raise InputError(
                f"{self!r}: qid {qid!r}, docno {docno!r} has {found['size'].iloc[place]} scores for {wanted[place]} "
                "sub-questions; score each passage for all of them (put Decompose behind the retriever), or choose max"
            )
        return found["mean"].to_numpy(dtype="float64")
