"""Cost beside quality: seconds per query, percentiles, and scores that do not tell candidates apart."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from ctypes import c_float
from typing import Any

from limrank_ir.cli import console

from ..systems.system import InstructedPair, Scorer

Pairs = Sequence[InstructedPair]


def tied_scores(ranking: Iterable[Iterable[float]]) -> int:
    """Count candidates whose score another candidate of the same query has, too.

    Args:
        ranking: the scores of each query's candidates. They are compared as float32, as trec_eval reads them.

    Returns:
        How many; their order is arbitrary.

    Example:
        >>> tied_scores([[0.5, 0.5, 0.1], [0.5, 0.2]])
        2
    """
    counts = (Counter(c_float(score).value for score in scores) for scores in ranking)
    return sum(count for of_query in counts for count in of_query.values() if count > 1)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile of at least one value, interpolated linearly."""
    import numpy as np

    median, high = np.percentile(values, [50, 95])
    return float(median), float(high)


def query_tokens(pair_tokens: Sequence[int] | None, candidates: Iterable[int]) -> list[int] | None:
    """Add up the tokens of each query's pairs.

    Args:
        pair_tokens: the tokens of each pair, query after query; None if they are not known.
        candidates: how many pairs each query has.

    Returns:
        The tokens of each query, or None.
    """
    if pair_tokens is None:
        return None
    remaining = iter(pair_tokens)
    return [sum(next(remaining) for _ in range(count)) for count in candidates]


def sample(queries: Sequence[tuple[str, str]], count: int, seed: int) -> list[tuple[str, str]]:
    """Sample queries to time.

    Args:
        queries: (collection, qid) of all queries that have candidates.
        count: how many to take, at most.
        seed: of the sample; a larger sample contains the smaller ones.

    Returns:
        The sample, in random order.
    """
    return random.Random(seed).sample(sorted(queries), len(queries))[:count]


def latency(label: str, score: Scorer, queries: Sequence[Pairs]) -> dict[str, Any]:
    """Judge queries one at a time and take the time.

    Args:
        label: the system, for the progress bar.
        score: a loaded model that does not look up earlier verdicts.
        queries: the pairs of each query; the first query is judged once more before, to warm up.

    Returns:
        ``queries``, ``pairs``, and for each query its wall-clock ``seconds``.
    """
    nothing: Callable[[int], None] = lambda count: None  # noqa: E731
    seconds = []
    with console.progress(f"{label}, one query at a time", len(queries), "queries") as advance:
        score(queries[0], nothing)
        for pairs in queries:
            started = time.perf_counter()
            score(pairs, nothing)
            seconds.append(time.perf_counter() - started)
            advance(1)
    return {"queries": len(queries), "pairs": sum(map(len, queries)), "seconds": seconds}
