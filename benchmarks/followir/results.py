"""What was measured: a system on a task, and the official averages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..systems.system import Work
from .official import OFFICIAL
from .p_mrr import PMrr
from .task import Preference


@dataclass(frozen=True)
class Right:
    """How often the better of two passages is ranked above the worse one. A tie is not right.

    Attributes:
        pairs: (query, better, worse) that were compared.
        right: how many of them are in the right order.
        twins: twin queries, each of which wants the other's worse passage.
        both: how many twins have all of their pairs right; what reads only the passages has none.
    """

    pairs: int
    right: int
    twins: int
    both: int


@dataclass(frozen=True)
class FollowIrResult:
    """A system on a task.

    Attributes:
        task: the task's name.
        system: the system's label.
        p_mrr: p-MRR, or None if no instruction changes.
        interval: the 95% interval of its mean, by a bootstrap over the queries; None for fewer than two.
        original: measure to mean under the original instructions; empty if no instruction changes.
        changed: the same under the changed ones.
        right: the pairs in the right order, or None without such pairs.
        work: what it took; None for the first stage.
    """

    task: str
    system: str
    p_mrr: PMrr | None
    interval: tuple[float, float] | None
    original: dict[str, float]
    changed: dict[str, float]
    right: Right | None
    work: Work | None


def right_order(preferences: Sequence[Preference], scores: Mapping[str, Mapping[str, float]]) -> Right:
    """Count the preferences that a ranking respects.

    Args:
        preferences: what should be above what.
        scores: qid to docno to score; a document without a score is below all others.

    Returns:
        The counts.
    """
    below = -math.inf
    right = {
        preference: scores[preference.qid].get(preference.better, below)
        > scores[preference.qid].get(preference.worse, below)
        for preference in preferences
    }
    of_twins: dict[frozenset[str], list[bool]] = {}
    for preference, is_right in right.items():
        if preference.twin is not None:
            of_twins.setdefault(frozenset((preference.qid, preference.twin)), []).append(is_right)
    return Right(len(right), sum(right.values()), len(of_twins), sum(map(all, of_twins.values())))


def averages(results: Sequence[FollowIrResult]) -> dict[str, dict[str, float]]:
    """The official averages, for the systems that were measured on all three tasks.

    Args:
        results: the results.

    Returns:
        System to ``p-MRR`` (the mean of the three tasks, from -1 to 1) and ``score`` (the mean of Robust04's and
        Core17's MAP@1000 and News21's nDCG@5, under the original instructions; FollowIR, arXiv 2403.15246).
    """
    found: dict[str, dict[str, FollowIrResult]] = {}
    for result in results:
        found.setdefault(result.system, {})[result.task] = result
    means = {}
    for system, by_task in found.items():
        if all(name in by_task for name in OFFICIAL):
            changes = [by_task[name].p_mrr for name in OFFICIAL]
            values = [change.mean for change in changes if change is not None and change.mean is not None]
            qualities = [by_task[name].original[measure] for name, (_, measure) in OFFICIAL.items()]
            if len(values) == len(OFFICIAL):
                means[system] = {"p-MRR": math.fsum(values) / 3, "score": math.fsum(qualities) / 3}
    return means
