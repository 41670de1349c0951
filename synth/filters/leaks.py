"""Leaks: does a passage repeat the query, or give its label away on its own?"""

from __future__ import annotations

from collections.abc import Sequence

from ..records import JudgedPair
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


def label_leak(pairs: Sequence[JudgedPair], *, seed: int = 0) -> float | None:
    """Measure how well the words of a passage alone tell relevant passages from others.

    Logistic regression on tf-idf, cross-validated, with all passages of a query in one fold.

    Args:
        pairs: the pairs.
        seed: the random seed of the folds.

    Returns:
        The area under the ROC curve: 0.5 means no leak, 1 a complete leak. None if there are too few pairs.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    labels = [pair.label for pair in pairs]
    queries = [pair.query.id for pair in pairs]
    if min(sum(labels), len(labels) - sum(labels)) < 10 or len(set(queries)) < 10:
        return None
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2), LogisticRegression(class_weight="balanced", C=1.0)
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    texts = [pair.passage.text for pair in pairs]
    odds = cross_val_predict(model, texts, labels, groups=queries, cv=folds, method="decision_function")
    return float(roc_auc_score(labels, odds))
