"""What was measured and what follows from it: comparisons with the first stage, gains, means over collections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from limrank_ir.ranking.statistics import MARGIN, Comparison, Correction, Test, compare, correct, differences

from ..systems.system import FIRST_STAGE, Work

MEASURES = ("nDCG@10", "RR@10")
PRIMARY = MEASURES[0]
SAME = 0.0005  # smaller differences print as 0.000 and count as neither above nor below
BETTER = "better of the two"

Variant = Literal["first stage", "alone", "fused", "fusion"]


@dataclass(frozen=True)
class Statistics:
    """How systems are compared with the first stage (`limrank_ir.ranking.statistics`).

    Attributes:
        test: the test.
        correction: over all systems (alone and fused) and collections, for each measure on its own.
        margin: the largest difference that does not matter, in units of the measure.
    """

    test: Test = "auto"
    correction: Correction = "holm"
    margin: float = MARGIN


@dataclass(frozen=True)
class SystemResult:
    """The figures of one system, in one variant, on one collection.

    Attributes:
        collection: the collection's name.
        system: the reranker's label, ``bm25``, or the label of a fusion.
        variant: the first stage, the reranker alone, the reranker fused with the first stage, or a fusion of systems.
        mean: measure to its mean over the queries.
        per_query: qid to measure to value.
        missing: queries without any document; they count as 0.
        work: what the reranker took (the same for alone and fused); None for the first stage and for fusions.
        tied: candidates whose score another candidate of the same query has, too (`cost.tied_scores`); None in results
            of older versions.
        query_tokens: tokens that the reranker read and wrote for each query; None if they are not known by query.
        comparisons: measure to the comparison with the first stage; empty for the first stage.
    """

    collection: str
    system: str
    variant: Variant
    mean: dict[str, float]
    per_query: dict[str, dict[str, float]]
    missing: int
    work: Work | None = None
    tied: int | None = None
    query_tokens: list[int] | None = None
    comparisons: dict[str, Comparison] = field(default_factory=dict)

    @property
    def p(self) -> dict[str, float | None]:
        """Measure to the corrected p-value of the difference from the first stage; None if it is undefined."""
        return {measure: found.p for measure, found in self.comparisons.items()}

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
        results: by collection, the first stage first, with comparisons.
        collections: collection name to facts about it.
        systems: system label to facts about it.
        settings: how it was measured.
        environment: versions, hardware, command.
        statistics: how systems were compared.
        fusions: the label of each fusion to the weights of what it fuses.
    """

    results: Sequence[SystemResult]
    collections: dict[str, dict[str, Any]]
    systems: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    environment: dict[str, str]
    statistics: Statistics = field(default_factory=Statistics)
    fusions: dict[str, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def overall(self) -> dict[str, dict[str, Comparison]]:
        """Measure to label to the comparison with the first stage over all collections (`compare_overall`)."""
        return {measure: compare_overall(self.results, measure, self.statistics) for measure in MEASURES}

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

    def query_tokens(self, system: str) -> list[int]:
        """A system's tokens for each query of all collections; empty if they are not known."""
        found = [r.query_tokens for r in self.results if r.system == system and r.variant == "alone"]
        return [tokens for each in found for tokens in each or ()] if None not in found else []


def with_comparisons(results: Sequence[SystemResult], statistics: Statistics) -> list[SystemResult]:
    """Compare each system with the first stage on each collection.

    Args:
        results: all results, including those of the first stages.
        statistics: how to compare. The correction is over all systems and collections.

    Returns:
        The same results in the same order, with `SystemResult.comparisons`.
    """
    first = {result.collection: result for result in results if result.variant == "first stage"}
    tested = [result for result in results if result.variant != "first stage"]
    found: dict[tuple[str, str], dict[str, Comparison]] = {}
    for measure in MEASURES:
        raw = [
            compare(
                differences(first[result.collection].per_query, result.per_query, measure),
                test=statistics.test,
                margin=statistics.margin,
            )
            for result in tested
        ]
        for result, comparison in zip(tested, correct(raw, statistics.correction), strict=True):
            found.setdefault((result.collection, result.label), {})[measure] = comparison
    return [replace(result, comparisons=found.get((result.collection, result.label), {})) for result in results]


def compare_overall(results: Sequence[SystemResult], measure: str, statistics: Statistics) -> dict[str, Comparison]:
    """Compare each system with the first stage over all collections.

    Args:
        results: all results, including those of the first stages.
        measure: one of `MEASURES`.
        statistics: how to compare. The correction is over all systems.

    Returns:
        Label to comparison. Its difference is that of the means over the collections (`weighted_differences`).
    """
    first = {result.collection: result for result in results if result.variant == "first stage"}
    pairs: dict[str, list[tuple[SystemResult, SystemResult]]] = {}
    for result in results:
        if result.variant != "first stage":
            pairs.setdefault(result.label, []).append((first[result.collection], result))
    raw = [
        compare(weighted_differences(each, measure), test=statistics.test, margin=statistics.margin)
        for each in pairs.values()
    ]
    return dict(zip(pairs, correct(raw, statistics.correction), strict=True))


def weighted_differences(pairs: Sequence[tuple[SystemResult, SystemResult]], measure: str) -> list[float]:
    """The differences of all queries, so weighted that their mean is the mean over the collections.

    Args:
        pairs: for each collection, a result and another one of the same queries.
        measure: one of `MEASURES`.

    Returns:
        Second minus first. With C collections and N queries in all, each of a collection with n queries counts
        N / (C n) times.
    """
    queries = sum(len(result.per_query) for _, result in pairs)
    return [
        queries / (len(pairs) * len(result.per_query)) * difference
        for base, result in pairs
        for difference in differences(base.per_query, result.per_query, measure)
    ]


def summaries(results: Sequence[SystemResult], measure: str) -> list[Summary]:
    """Summarize results over collections.

    Args:
        results: what `with_comparisons` returned.
        measure: one of `MEASURES`.

    Returns:
        The first stage; for each reranker: alone, fused, and the better of the two on each collection; and the fusions.
    """
    first = {result.collection: result for result in results if result.variant == "first stage"}
    found = [_summary(FIRST_STAGE, list(first.values()), first, measure)]
    for system in dict.fromkeys(result.system for result in results if result.variant == "alone"):
        alone = [result for result in results if result.system == system and result.variant == "alone"]
        fused = [result for result in results if result.system == system and result.variant == "fused"]
        best = [max(pair, key=lambda result: result.mean[measure]) for pair in zip(alone, fused, strict=True)]
        found.append(_summary(alone[0].label, alone, first, measure))
        found.append(_summary(fused[0].label, fused, first, measure))
        found.append(_summary(f"{system}, {BETTER}", best, first, measure, combined=True))
    for label in dict.fromkeys(result.label for result in results if result.variant == "fusion"):
        found.append(_summary(label, [result for result in results if result.label == label], first, measure))
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
    """Whether the difference from the first stage is significant after the correction."""
    found = result.comparisons.get(measure)
    return found is not None and found.significant


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
        calls=None if any(work.calls is None for work in works) else sum(work.calls or 0 for work in works),
        repaired=sum(work.repaired for work in works),
        failed=sum(work.failed for work in works),
    )
