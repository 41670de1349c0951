"""What any order of the candidates can reach: the best one, and what a random one reaches on average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

CUTOFF = 10  # of nDCG


def best_order(candidates: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]) -> float:
    """nDCG@10 of the best possible order of the candidates, averaged over the queries of the qrels.

    Args:
        candidates: qid to docnos.
        qrels: qid to docno to grade. A grade is its gain, as in trec_eval.

    Returns:
        A number from 0 to 1.

    Example:
        >>> best_order({"q": ["a", "b"]}, {"q": {"b": 1}})
        1.0
    """
    return _mean(
        _dcg(sorted((max(grades.get(docno, 0), 0) for docno in candidates.get(qid, ())), reverse=True)) / _ideal(grades)
        for qid, grades in qrels.items()
    )


def random_order(candidates: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]) -> float:
    """Expected nDCG@10 of a random order of the candidates, averaged over the queries of the qrels.

    This is exact, not a mean over shuffles: each place holds each candidate with the same probability, so the expected
    gain of each place is the mean gain of the candidates.

    Args:
        candidates: qid to docnos.
        qrels: qid to docno to grade.

    Returns:
        A number from 0 to 1.

    Example:
        >>> round(random_order({"q": ["a", "b"]}, {"q": {"b": 1}}), 3)  # (1 + 1 / log2(3)) / 2
        0.815
    """
    return _mean(
        _dcg([sum(max(grades.get(docno, 0), 0) for docno in docnos) / len(docnos)] * len(docnos)) / _ideal(grades)
        if (docnos := candidates.get(qid, ()))
        else 0.0
        for qid, grades in qrels.items()
    )


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(place + 1) for place, gain in enumerate(gains[:CUTOFF], 1))


def _ideal(grades: Mapping[str, int]) -> float:
    return _dcg(sorted((max(grade, 0) for grade in grades.values()), reverse=True))


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)
