"""What was measured and what follows from it: significance, gains, and means over collections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from limrank_ir.ranking.evaluate import holm, t_test

from ..systems.system import FIRST_STAGE, Work

MEASURES = ("nDCG@10", "RR@10")
SAME = 0.0005  # smaller differences print as 0.000 and count as neither above nor below
ALPHA = 0.05
BETTER = "better of the two"

Variant = Literal["first stage", "alone", "fused"]


@dataclass(frozen=True)
class SystemResult:
    """The figures of one system, in one variant, on one collection.

    Attributes:
        collection: the collection's name.
        system: the reranker's label, or ``bm25``.
        variant: the first stage, the reranker alone, or the reranker fused with the first stage.
        mean: measure to its mean over the queries.
        per_query: qid to measure to value.
        missing: queries without any document; they count as 0.
        work: what the reranker took (the same for alone and fused); None for the first stage.
        p: measure to the corrected p-value of the difference from the first stage; None if it cannot be computed.
    """

    collection: str
    system: str
    variant: Variant
    mean: dict[str, float]
    per_query: dict[str, dict[str, float]]
    missing: int
    work: Work | None = None
    p: dict[str, float | None] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name in tables."""
        return f"{self.system}, fused" if self.variant == "fused" else self.system


@dataclass(frozen=True)
class Summary:
    """One system in one variant over all collections, by one measure.

    Attributes:
        label: the name in tables.
        mean: mean over the collections.
        mean_gain: mean of the relative gains over the first stage, without collections where the first stage has 0.
        gain_of_mean: relative gain of the mean.
        above: collections where it is above the first stage.
        below: collections where it is below.
        better: how many of those above are significant.
        worse: how many of those below are significant.
        combined: whether this is the better of two variants on each collection: a bound, not a system.
    """

    label: str
    mean: float
    mean_gain: float | None
    gain_of_mean: float | None
    above: int
    below: int
    better: int
    worse: int
    combined: bool = False


@dataclass(frozen=True)
class SuiteReport:
    """Everything that the output folder reports.

    Attributes:
        results: by collection, the first stage first, with p-values.
        collections: collection name to facts about it.
        systems: system label to facts about it.
        settings: how it was measured.
        environment: versions, hardware, command.
    """

    results: Sequence[SystemResult]
    collections: dict[str, dict[str, Any]]
    systems: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    environment: dict[str, str]

    @property
    def labels(self) -> list[str]:
        """The labels of all results, the first stage first."""
        return list(dict.fromkeys(result.label for result in self.results))

    def on(self, collection: str) -> dict[str, SystemResult]:
        """The results on a collection by label, the first stage first."""
        return {result.label: result for result in self.results if result.collection == collection}

    def first_stage(self, collection: str) -> SystemResult:
        """The first stage's result on a collection."""
        return self.on(collection)[FIRST_STAGE]

    def work(self) -> dict[str, Work]:
        """What each system took over all collections."""
        found: dict[str, list[Work]] = {}
        for result in self.results:
            if result.variant == "alone" and result.work is not None:
                found.setdefault(result.system, []).append(result.work)
        return {system: total_work(works) for system, works in found.items()}


def with_p_values(results: Sequence[SystemResult]) -> list[SystemResult]:
    """Add p-values: paired t-tests against the first stage, Holm's correction over all systems and collections.

    Args:
        results: all results, including those of the first stages.

    Returns:
        The same results in the same order, with `SystemResult.p`.
    """
    first = {result.collection: result for result in results if result.variant == "first stage"}
    tested = [result for result in results if result.variant != "first stage" and len(result.per_query) > 1]
    p_values: dict[tuple[str, str], dict[str, float | None]] = {}
    for measure in MEASURES:
        raw = [t_test(first[result.collection].per_query, result.per_query, measure) for result in tested]
        for result, p in zip(tested, holm(raw), strict=True):
            p_values.setdefault((result.collection, result.label), {})[measure] = p
    untested: dict[str, float | None] = dict.fromkeys(MEASURES)
    return [
        result
        if result.variant == "first stage"
        else replace(result, p=p_values.get((result.collection, result.label), untested))
        for result in results
    ]


def summaries(results: Sequence[SystemResult], measure: str) -> list[Summary]:
    """Summarize results over collections.

    Args:
        results: what `with_p_values` returned.
        measure: one of `MEASURES`.

    Returns:
        The first stage, and for each reranker: alone, fused, and the better of the two on each collection.
    """
    first = {result.collection: result for result in results if result.variant == "first stage"}
    found = [_summary(FIRST_STAGE, list(first.values()), first, measure)]
    for system in dict.fromkeys(result.system for result in results if result.variant != "first stage"):
        alone = [result for result in results if result.system == system and result.variant == "alone"]
        fused = [result for result in results if result.system == system and result.variant == "fused"]
        best = [max(pair, key=lambda result: result.mean[measure]) for pair in zip(alone, fused, strict=True)]
        found.append(_summary(alone[0].label, alone, first, measure))
        found.append(_summary(fused[0].label, fused, first, measure))
        found.append(_summary(f"{system}, {BETTER}", best, first, measure, combined=True))
    return found


def _summary(
    label: str, results: Sequence[SystemResult], first: dict[str, SystemResult], measure: str, *, combined: bool = False
) -> Summary:
    values = [result.mean[measure] for result in results]
    bases = [first[result.collection].mean[measure] for result in results]
    gains = [gain for value, base in zip(values, bases, strict=True) if (gain := relative(value, base)) is not None]
    above = [result for result, value, base in zip(results, values, bases, strict=True) if value - base >= SAME]
    below = [result for result, value, base in zip(results, values, bases, strict=True) if base - value >= SAME]
    mean = math.fsum(values) / len(values)
    return Summary(
        label=label,
        mean=mean,
        mean_gain=math.fsum(gains) / len(gains) if gains else None,
        gain_of_mean=relative(mean, math.fsum(bases) / len(bases)),
        above=len(above),
        below=len(below),
        better=sum(significant(result, measure) for result in above),
        worse=sum(significant(result, measure) for result in below),
        combined=combined,
    )


def relative(value: float, base: float) -> float | None:
    """The gain over a base as a share of it; None if the base is 0."""
    return None if base == 0 else (value - base) / base


def significant(result: SystemResult, measure: str) -> bool:
    """Whether the difference from the first stage is significant."""
    p = result.p.get(measure)
    return p is not None and p < ALPHA


def total_work(works: Sequence[Work]) -> Work:
    """Add up the work on several collections."""
    return Work(
        pairs=sum(work.pairs for work in works),
        judged=sum(work.judged for work in works),
        seconds=math.fsum(work.seconds for work in works if work.judged),
        tokens=sum(work.tokens for work in works),
        cut=sum(work.cut for work in works),
        cut_tokens=sum(work.cut_tokens for work in works),
        forced=sum(work.forced for work in works),
    )
