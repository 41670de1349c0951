"""What an ablation found: means and spreads over seeds, and differences from the reference point."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from limrank_ir.ranking.statistics import Comparison, compare, correct

from ..suite.results import MEASURES, SuiteReport
from .config import AblateConfig

MEASURE = MEASURES[0]
CONFIDENCE = 0.95
NOT_SHOWN = "not shown"  # neither better nor worse

Variant = Literal["alone", "fused"]
VARIANTS: tuple[Variant, ...] = ("alone", "fused")


@dataclass(frozen=True)
class Measured:
    """A point with one seed: its figures.

    Attributes:
        point: the point's name.
        seed: the training's seed; None if it is not trained.
        k: documents reranked for each topic.
        figures: variant to collection to nDCG@10.
        per_query: variant to collection to qid to nDCG@10.
        first_stage: collection to nDCG@10 of the first stage.
        pairs: how many pairs were judged.
        training: steps, examples, seconds, and the hash of the data, as ``limrank train`` recorded them.
        adapter: the content hash of the adapter, or None.
    """

    point: str
    seed: int | None
    k: int
    figures: dict[Variant, dict[str, float]]
    per_query: dict[Variant, dict[str, dict[str, float]]]
    first_stage: dict[str, float]
    pairs: int
    training: dict[str, Any]
    adapter: str | None

    @classmethod
    def from_suite(
        cls, point: str, seed: int | None, k: int, report: SuiteReport, training: Mapping[str, Any]
    ) -> Measured:
        """The figures of a suite's only reranker.

        Args:
            point: the point's name.
            seed: the training's seed, or None.
            k: documents reranked for each topic.
            report: the suite's.
            training: facts about the training.
        """
        (system,) = report.systems
        figures: dict[Variant, dict[str, float]] = {variant: {} for variant in VARIANTS}
        queries: dict[Variant, dict[str, dict[str, float]]] = {variant: {} for variant in VARIANTS}
        for result in report.results:
            if result.variant == "alone" or result.variant == "fused":
                figures[result.variant][result.collection] = result.mean[MEASURE]
                queries[result.variant][result.collection] = {
                    qid: values[MEASURE] for qid, values in result.per_query.items()
                }
        first = {name: report.first_stage(name).mean[MEASURE] for name in report.collections}
        pairs = report.work()[system].pairs
        adapter = report.systems[system]["adapter_hash"]
        return cls(point, seed, k, figures, queries, first, pairs, dict(training), adapter)

    def mean(self, variant: Variant) -> float:
        """The mean over the collections."""
        values = self.figures[variant].values()
        return math.fsum(values) / len(values)


@dataclass(frozen=True)
class Spread:
    """Values over seeds.

    Attributes:
        n: how many.
        mean: their mean.
        sd: their sample standard deviation; None for one value.
        interval: the 95% interval of the mean by Student's t; None for one value.
    """

    n: int
    mean: float
    sd: float | None
    interval: tuple[float, float] | None


def spread(values: Sequence[float]) -> Spread:
    """Mean and spread.

    Args:
        values: one for each seed.

    Example:
        >>> found = spread([0.5, 0.6, 0.7])
        >>> (round(found.mean, 3), round(found.sd, 3), [round(end, 3) for end in found.interval])
        (0.6, 0.1, [0.352, 0.848])
    """
    from scipy.stats import t  # type: ignore[import-untyped]

    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Spread(1, mean, None, None)
    sd = statistics.stdev(values)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return Spread(len(values), mean, sd, (mean - reach, mean + reach))


@dataclass(frozen=True)
class Difference:
    """A point against the reference, by one variant.

    Attributes:
        seeds: over the seeds: differences of the means over the collections, paired by seed.
        collections: over the collections: differences of the means over the seeds, paired by collection.
        above: how many (seed, collection) are above the reference by at least 0.0005.
        below: how many are below.
        cells: how many there are.
        finding: ``better``, ``worse``, or ``not shown``.
    """

    seeds: Comparison
    collections: Comparison
    above: int
    below: int
    cells: int
    finding: str


@dataclass(frozen=True)
class Ablation:
    """All results.

    Attributes:
        points: name to what it is.
        reference: the name of the reference point.
        collections: their names.
        settings: how it was measured.
        measured: one for each point and seed, in order.
        spreads: variant to point to its spread over seeds.
        differences: variant to point to its difference from the reference.
        failures: what failed, one line each.
        environment: command, versions, hardware.
    """

    points: dict[str, str]
    reference: str
    collections: list[str]
    settings: dict[str, Any]
    measured: list[Measured]
    spreads: dict[Variant, dict[str, Spread]]
    differences: dict[Variant, dict[str, Difference]]
    failures: list[str]
    environment: dict[str, str]

    def of(self, point: str) -> list[Measured]:
        """A point's figures, one for each seed."""
        return [found for found in self.measured if found.point == point]

    def as_json(self) -> dict[str, Any]:
        """Everything, unrounded."""
        return dataclasses.asdict(self)


def ablation(
    config: AblateConfig,
    measured: Sequence[Measured],
    failures: Sequence[str],
    environment: Mapping[str, str],
    collections: Sequence[str],
) -> Ablation:
    """Summarize.

    A point is called better or worse than the reference only if two paired t-tests agree: the differences by seed are
    significant after Holm's correction over the points, and so are those by collection. So a difference within the
    spread of the seeds is never called one, and neither is one that a single collection makes.

    Args:
        config: the ablation.
        measured: the figures.
        failures: what failed.
        environment: command, versions, hardware.
        collections: their names.

    Returns:
        The results.
    """
    points = [name for name in config.points if any(found.point == name for found in measured)]
    spreads: dict[Variant, dict[str, Spread]] = {}
    differences: dict[Variant, dict[str, Difference]] = {}
    for variant in VARIANTS:
        spreads[variant] = {
            name: spread([found.mean(variant) for found in measured if found.point == name]) for name in points
        }
        differences[variant] = _differences(config.reference, points, measured, collections, variant)
    bench = config.bench
    settings = {
        "measure": MEASURE,
        "k": bench.k,
        "queries": bench.queries,
        "query_seed": bench.seed,
        "max_length": bench.max_length,
        "seeds": list(config.seeds),
        "confidence": CONFIDENCE,
    }
    about = {name: config.points[name].about for name in points}
    return Ablation(
        about,
        config.reference,
        list(collections),
        settings,
        list(measured),
        spreads,
        differences,
        list(failures),
        dict(environment),
    )


def _differences(
    reference: str, points: Sequence[str], measured: Sequence[Measured], collections: Sequence[str], variant: Variant
) -> dict[str, Difference]:
    """Each point against the reference; the p-values corrected over the points."""
    found: dict[str, tuple[Comparison, Comparison, list[float]]] = {}
    for name in points:
        pairs = [] if name == reference else _paired(name, reference, measured)
        if not pairs:
            continue
        gaps = [
            [point.figures[variant][each] - base.figures[variant][each] for each in collections]
            for point, base in pairs
        ]
        by_seed = compare([statistics.fmean(row) for row in gaps], test="t")
        by_collection = compare([statistics.fmean(column) for column in zip(*gaps, strict=True)], test="t")
        found[name] = (by_seed, by_collection, [gap for row in gaps for gap in row])
    seeds = correct([by_seed for by_seed, _, _ in found.values()])
    over = correct([by_collection for _, by_collection, _ in found.values()])
    return {
        name: Difference(
            seeds=by_seed,
            collections=by_collection,
            above=sum(gap >= 0.0005 for gap in gaps),
            below=sum(gap <= -0.0005 for gap in gaps),
            cells=len(gaps),
            finding=_finding(by_seed, by_collection),
        )
        for (name, (_, _, gaps)), by_seed, by_collection in zip(found.items(), seeds, over, strict=True)
    }


def _paired(point: str, reference: str, measured: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    """A point's figures with the reference's of the same seed. One that is not trained is the same for all seeds."""
    own = {found.seed: found for found in measured if found.point == point}
    base = {found.seed: found for found in measured if found.point == reference}
    seeds: list[int | None] = list(dict.fromkeys(seed for seed in (*own, *base) if seed is not None)) or [None]
    pairs = [(own.get(seed) or own.get(None), base.get(seed) or base.get(None)) for seed in seeds]
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _finding(by_seed: Comparison, by_collection: Comparison) -> str:
    agree = by_seed.difference * by_collection.difference > 0
    if by_seed.significant and by_collection.significant and agree:
        return "better" if by_seed.difference > 0 else "worse"
    return NOT_SHOWN
