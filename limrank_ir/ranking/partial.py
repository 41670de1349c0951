"""Reranking a part of a ranking, with scores that keep the rest in its place for every evaluation tool.

Tools such as trec_eval ignore ranks: they sort by score, in single precision, and break ties by document id.
"""

from __future__ import annotations

from collections.abc import Sequence

GAP = 1e-5  # survives "%.6f" and, for the usual size of scores, single precision


def window(count: int, start: int, end: int) -> range:
    """The positions of a window in a ranking, as in RankLLM: from 0, without `end`.

    Args:
        count: the number of documents.
        start: the first position; negative values count as 0.
        end: the position after the last one.
    """
    return range(min(max(start, 0), count), min(max(end, start, 0), count))


def reranked(count: int, places: range, scores: Sequence[float]) -> list[tuple[int, float]]:
    """Put the documents of a window into their new order.

    Args:
        count: the number of documents in the ranking.
        places: the positions of the window.
        scores: the new scores of the window's documents in the old order, all finite.

    Returns:
        (old position, score) of all documents in the new order. Scores strictly decrease: documents in the window get
        their new scores (ties keep the old order, each a `GAP` lower); above and below, scores are 1 apart.

    Example:
        >>> reranked(4, range(1, 3), [0.5, 2.5])
        [(0, 3.5), (2, 2.5), (1, 0.5), (3, -0.5)]
    """
    order = sorted(zip(scores, places, strict=True), key=lambda scored: (-scored[0], scored[1]))
    inside: list[tuple[int, float]] = []
    for score, place in order:
        lowest = inside[-1][1] - GAP if inside else score
        inside.append((place, min(float(score), lowest)))
    top, bottom = (inside[0][1], inside[-1][1]) if inside else (0.0, 0.0)
    above = [(place, top + places.start - place) for place in range(places.start)]
    below = [(place, bottom - 1 - number) for number, place in enumerate(range(places.stop, count))]
    return [*above, *inside, *below]
