"""Leaks: does a passage repeat the query, or give its label away on its own?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..records import JudgedPair, Outline
from ..words import ngrams
from . import Sifted, sift

COPIED = 8  # words in a row


def not_copied(pairs: Sequence[JudgedPair]) -> Sifted[JudgedPair]:
    """Keep pairs whose passage does not repeat 8 words of the query in a row, as only a writer who saw it would."""

    def reason(pair: JudgedPair) -> str | None:
        if len(pair.query.text.split()) < COPIED:
            return None
        shared = set(ngrams(pair.query.text, COPIED)) & set(ngrams(pair.passage.text, COPIED))
        return "repeats the query" if shared else None

    return sift(pairs, reason)


class Leak(NamedTuple):
    """How well texts alone tell relevant passages from others.

    Attributes:
        auc: the area under the ROC curve: 0.5 means no leak, 1 a complete leak.
        error: its standard error (Hanley and McNeil, 1982).
    """

    auc: float
    error: float

    def above(self, limit: float) -> bool:
        """Whether it is above a limit by more than chance: the lower end of its 95% interval is."""
        return self.auc - 1.959964 * self.error > limit


def passage_leak(pairs: Sequence[JudgedPair], *, seed: int = 0) -> Leak | None:
    """Measure how well passages alone give their labels away. Borrowed ones are left out: they have both labels.

    Args:
        pairs: the pairs.
        seed: the random seed of the folds.
    """
    own = [pair for pair in pairs if pair.passage.source is None]
    return label_leak([(pair.query.id, pair.passage.text, pair.label) for pair in own], seed=seed)


def content_leak(outlines: Sequence[Outline], *, seed: int = 0) -> Leak | None:
    """Measure how well the planned contents alone give their labels away, before their passages are paid for.

    Args:
        outlines: the outlines.
        seed: the random seed of the folds.
    """
    texts = [(each.query.id, plan.content, plan.kind == "positive") for each in outlines for plan in each.passages]
    return label_leak(texts, seed=seed)


def label_leak(texts: Sequence[tuple[str, str, bool]], *, seed: int = 0) -> Leak | None:
    """Measure how well a text's words and its length tell its label.

    Logistic regression on tf-idf and the number of words, in five folds, with all texts of a query in one fold.

    Args:
        texts: (query id, text, label) of each.
        seed: the random seed of the folds.

    Returns:
        The leak. None if there are too few texts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    queries, given, labels = (list(column) for column in zip(*texts, strict=True)) if texts else ([], [], [])
    yes, no = sum(labels), len(labels) - sum(labels)
    if min(yes, no) < 10 or len(set(queries)) < 10:
        return None
    lengths = make_pipeline(FunctionTransformer(_lengths), StandardScaler())
    model = make_pipeline(
        make_union(TfidfVectorizer(sublinear_tf=True, min_df=2), lengths),
        LogisticRegression(class_weight="balanced", C=1.0),
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    odds = cross_val_predict(model, given, labels, groups=queries, cv=folds, method="decision_function")
    auc = float(roc_auc_score(labels, odds))
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (yes - 1) * (one - auc**2) + (no - 1) * (two - auc**2)) / (yes * no)
    return Leak(auc, math.sqrt(max(0.0, variance)))


def _lengths(texts: Sequence[str]) -> list[list[float]]:
    return [[math.log1p(len(text.split()))] for text in texts]
