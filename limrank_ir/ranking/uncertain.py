"""Thinking only where it can matter (``think="auto"``): which places are uncertain, and how two kinds of score mix.

All passages of a query are scored without a thought. A passage is *uncertain* if its place among the best `TOP` could
be another one: its score is closer than a margin to the cut after the best `TOP`, or it stands above the cut and a
neighbor's score is closer than the margin. Margins are in standard deviations of the query's scores, because the scale
of log-odds differs from model to model.

A thought's log-odds saturate (a model that has just written its reasons is nearly certain), so they cannot stand beside
those of a verdict without a thought. Only their order counts: the uncertain passages of a query share the places, and
the scores, that they had together, and the one that the thoughts like best gets the highest of them. So passages
without a thought keep their scores and their order; those with a thought are in the order of their thoughts; and where
two thoughts agree exactly, the scores without a thought decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

TOP = 10  # the depth of nDCG@10
MARGIN = 0.25  # standard deviations


def uncertain(scores: Sequence[float], *, top: int = TOP, margin: float = MARGIN) -> list[int]:
    """Find the passages of one query whose place in the top is uncertain.

    Args:
        scores: their log-odds without a thought.
        top: how many of the best count.
        margin: standard deviations of the scores; 0 finds none, infinity all that could matter.

    Returns:
        Their positions in `scores`, best first.

    Example:
        >>> uncertain([5.0, 1.0, 4.9, -3.0], top=2, margin=0.1)
        [0, 2]
    """
    order = sorted(range(len(scores)), key=lambda position: (-scores[position], position))
    mean = math.fsum(scores) / max(1, len(scores))
    spread = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / max(1, len(scores)))
    if margin == 0 or not order:
        return []
    near = margin * spread if spread else math.inf  # equal scores are uncertain whatever the margin is
    cut = None
    if len(order) > top:
        cut = (scores[order[top - 1]] + scores[order[top]]) / 2
    found = []
    for rank, position in enumerate(order):
        neighbors = order[max(0, rank - 1) : rank] + order[rank + 1 : rank + 2]
        close = [abs(scores[position] - scores[neighbor]) <= near for neighbor in neighbors]
        at_the_cut = cut is not None and abs(scores[position] - cut) <= near
        if at_the_cut or (rank < top and any(close)):
            found.append(position)
    return found


def mixed(scores: Sequence[float], thoughts: dict[int, float]) -> list[float]:
    """Put the order of thoughts into scores without a thought.

    Args:
        scores: the log-odds of a query's passages without a thought.
        thoughts: the log-odds after a thought, by position in `scores`.

    Returns:
        One score for each passage, on the scale of `scores`.

    Example:
        >>> mixed([5.0, 4.0, 3.0, 2.0], {0: -20.0, 2: 20.0})
        [3.0, 4.0, 5.0, 2.0]
    """
    out = list(scores)
    places = sorted((scores[position] for position in thoughts), reverse=True)
    order = sorted(thoughts, key=lambda position: (-thoughts[position], -scores[position], position))
    last: float | None = None
    for place, position, before in zip(places, order, [None, *order], strict=False):
        apart = before is not None and thoughts[before] != thoughts[position]
        if apart and last is not None and place >= last:
            place = math.nextafter(last, -math.inf)  # two equal scores, but different thoughts
        out[position] = last = place
    return out
