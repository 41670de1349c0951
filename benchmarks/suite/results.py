"""What was measured, and what follows from it: significance, averages over collections, gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from limrank_ir.ranking.evaluate import holm, t_test

from .system import FIRST_STAGE, Work

MEASURES = ("nDCG@10", "RR@10")
SAME = 0.0005  # smaller differences print as 0.000, and count as neither above nor below
ALPHA = 0.05
BETTER = "better of the two"

Variant = Literal["first stage", "alone", "fused"]


@dataclass(frozen=True)
class Result:
    """One ranking of a collection, measured.

    Attributes:
        collection: its name.
        system: the reranker's label, or ``bm25``.
        variant: the first stage, the reranker alone, or fused with the first stage.
        mean: measure to its mean over the queries.
        per_query: qid to measure to value.
        missing: queries without any document; they count as 0.
        work: what the reranker took (the same for alone and fused); None for the first stage.
        p: measure to the p-value of the difference to the first stage, corrected; None where it cannot be told.
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
        """Name of the ranking in tables."""
        return f"{self.system}, fused" if self.variant == "fused" else self.system


@dataclass(frozen=True)
class Summary:
    """One ranking over all collections, by one measure.

    Attributes:
        label: its name.
        mean: mean over the collections.
        mean_gain: mean of the collections' relative gains over the first stage; those where it has 0 are left out.
        gain_of_mean: relative gain of the mean.
        above: collections where it is above the first stage.
        below: collections where it is below.
        better: those above where the difference is significant.
        worse: those below where it is.
        combined: whether it is the better of two variants, chosen collection by collection: no system, but a bound.
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


def corrected(results: Sequence[Result]) -> list[Result]:
    """Add p-values: paired t-tests against the first stage, Holm's correction over all systems and collections.

    Args:
        results: all results, those of the first stages among them.

    Returns:
        The same in the same order, with `Result.p`.
    """
    from dataclasses import replace

    first = {result.collection: result for result in results if result.variant == "first stage"}
    tested = [result for result in results if result.variant != "first stage" and len(result.per_query) > 1]
    p_values: dict[tuple[str, str], dict[str, float | None]] = {}
    for measure in MEASURES:
        raw = [t_test(first[result.collection].per_query, result.per_query, measure) for result in tested]
        for result, p in zip(tested, holm(raw), strict=True):
            p_values.setdefault((result.collection, result.label), {})[measure] = p
    return [
        result
        if result.variant == "first stage"
        else replace(result, p=p_values.get((result.collection, result.label), dict.fromkeys(MEASURES)))
        for result in results
    ]


def summaries(results: Sequence[Result], measure: str) -> list[Summary]:
    """Sum up over collections.

    Args:
        results: what `corrected` returned.
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
        found += [_summary(rows[0].label, rows, first, measure) for rows in (alone, fused)]
        found.append(_summary(f"{system}, {BETTER}", best, first, measure, combined=True))
    return found


def _summary(
    label: str, results: Sequence[Result], first: dict[str, Result], measure: str, *, combined: bool = False
) -> Summary:
    values = [result.mean[measure] for result in results]
    base = [first[result.collection].mean[measure] for result in results]
    gains = [gain for pair in zip(values, base, strict=True) if (gain := relative(*pair)) is not None]
    above = [result for result, value, low in zip(results, values, base, strict=True) if value - low >= SAME]
    below = [result for result, value, low in zip(results, values, base, strict=True) if low - value >= SAME]
    mean = math.fsum(values) / len(values)
    return Summary(
        label=label,
        mean=mean,
        mean_gain=math.fsum(gains) / len(gains) if gains else None,
        gain_of_mean=relative(mean, math.fsum(base) / len(base)),
        above=len(above),
        below=len(below),
        better=sum(significant(result, measure) for result in above),
        worse=sum(significant(result, measure) for result in below),
        combined=combined,
    )


def relative(value: float, base: float) -> float | None:
    """How much larger a value is, as a share of the base; None where that is 0."""
    return None if base == 0 else (value - base) / base


def significant(result: Result, measure: str) -> bool:
    """Whether the difference to the first stage is."""
    p = result.p.get(measure)
    return p is not None and p < ALPHA


def total(works: Sequence[Work]) -> Work:
    """Work of several collections together."""
    return Work(
        pairs=sum(work.pairs for work in works),
        judged=sum(work.judged for work in works),
        seconds=math.fsum(work.seconds for work in works if work.judged),
        tokens=sum(work.tokens for work in works),
        cut=sum(work.cut for work in works),
        cut_tokens=sum(work.cut_tokens for work in works),
        forced=sum(work.forced for work in works),
    )


@dataclass(frozen=True)
class Report:
    """All that the output folder tells.

    Attributes:
        results: by collection, the first stage first; with p-values.
        collections: facts of each collection by name.
        systems: facts of each system by label.
        settings: of the measurement.
        environment: versions, hardware, command.
    """

    results: Sequence[Result]
    collections: dict[str, dict[str, Any]]
    systems: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    environment: dict[str, str]

    @property
    def labels(self) -> list[str]:
        """The rankings, the first stage first."""
        return list(dict.fromkeys(result.label for result in self.results))

    def row(self, collection: str) -> dict[str, Result]:
        """A collection's results by label."""
        return {result.label: result for result in self.results if result.collection == collection}

    def works(self) -> dict[str, Work]:
        """What each system took over all collections."""
        return {
            system: total(
                [r.work for r in self.results if r.system == system and r.variant == "alone" and r.work is not None]
            )
            for system in dict.fromkeys(result.system for result in self.results if result.variant == "alone")
        }
