"""A part of a ranking is reranked and the rest keeps its place, with scores that say so to every evaluation tool.

Tools such as trec_eval ignore ranks: they sort by score, in single precision, and break ties by document id.
"""

from __future__ import annotations

from collections.abc import Sequence

GAP = 1e-5  # survives "%.6f" and, for scores of a reranker's size, single precision


def window(count: int, start: int, end: int) -> range:
    """The places of a window within a ranking, as RankLLM counts them: from 0, `end` is not part of it.

    Args:
        count: how many documents there are.
        start: the window's first place; below 0 counts as 0.
        end: behind its last place.
    """
    return range(min(max(start, 0), count), min(max(end, start, 0), count))


def reranked(count: int, places: range, scores: Sequence[float]) -> list[tuple[int, float]]:
    """Put a window's documents into their new order.

    Args:
        count: how many documents the ranking has.
        places: the window's.
        scores: new scores of the window's documents, in the old order, finite.

    Returns:
        (old place, score) of all documents, in the new order. Scores strictly descend: the window's are its new ones
        (equal ones keep the old order, the later a `GAP` lower), those above and below it stand one apart.

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
