"""How far a teacher agrees with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..rows import Group


@dataclass(frozen=True)
class Agreement:
    """How far a teacher agrees with the labels of a source.

    Attributes:
        first: the share of groups in which a positive has a higher score than every negative.
        pairs: the share of pairs of a positive and a negative of one group that are in the right order; a tie counts
            as half of one. 0.5 is chance.
    """

    first: float
    pairs: float


def agreement(groups: Sequence[Group], scores: Sequence[Sequence[float]]) -> Agreement | None:
    """Compare a teacher with the labels.

    Args:
        groups: the groups of a source.
        scores: the teacher's score for each passage of each group.

    Returns:
        The agreement over the groups that have both positives and negatives; None if there are none.
    """
    first, pairs = [], []
    for group, row in zip(groups, scores, strict=True):
        positives = [score for candidate, score in zip(group.candidates, row, strict=True) if candidate.label]
        negatives = [score for candidate, score in zip(group.candidates, row, strict=True) if not candidate.label]
        if positives and negatives:
            first.append(max(positives) > max(negatives))
            pairs += [(high > low) + (high == low) / 2 for high in positives for low in negatives]
    if not first:
        return None
    return Agreement(round(sum(first) / len(first), 4), round(sum(pairs) / len(pairs), 4))
