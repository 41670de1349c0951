"""Whether one system is better than another over the same queries: paired differences, tests, corrections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Test = Literal["auto", "randomization", "wilcoxon", "t", "bootstrap"]
"""A paired two-sided test (`compare`)."""

Correction = Literal["holm", "bh", "none"]
"""A correction over several tests (`correct`)."""

TESTS, CORRECTIONS = get_args(Test), get_args(Correction)
ALPHA = 0.05  # of tests; intervals are of 1 - ALPHA
MANY = 1000  # queries from which `auto` takes the t-test
MARGIN = 0.01  # differences in the mean that are too small to matter, unless the user says otherwise
RESAMPLES, BOOTSTRAPS = 99_999, 9_999  # random sign flips, and samples with replacement
_DIGITS = 12  # differences beyond these are rounding errors, which would break ties between equal differences
_CHUNK = 200_000  # numbers at once: they stay in the cache of the processor
_SEED = 0
_TEST_NAMES = {
    "randomization": "randomization tests",
    "wilcoxon": "Wilcoxon signed-rank tests",
    "t": "t-tests",
    "bootstrap": "bootstrap tests",
}
_CORRECTION_NAMES = {"holm": "Holm's correction", "bh": "Benjamini-Hochberg correction", "none": "no correction"}

Interval: TypeAlias = tuple[float, float]
"""(low, high)."""


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline over the same queries, by one measure.

    Attributes:
        queries: how many.
        difference: mean of the paired differences, system minus baseline, in units of the measure.
        interval: its 95% confidence interval: Student's, or with the test ``bootstrap`` the bootstrap's.
        effect: the effect size d_z, the mean of the differences divided by their standard deviation.
        effect_interval: its 95% confidence interval, from the noncentral t distribution.
        wins: queries on which the system is better.
        ties: queries on which both have the same value.
        losses: queries on which the baseline is better.
        test: the test of `p`; never ``auto``.
        p: two-sided p-value of "there is no difference", corrected if `correct` did so.
        margin: the largest difference that does not matter, or None if equivalence was not asked for.
        p_equivalent: p-value of "the difference is at least `margin`" (TOST), corrected like `p`; or None.
        correction: what `correct` did to the p-values.
        missing: why `interval`, `effect`, or a p-value is None; empty if all are known.
    """

    queries: int
    difference: float
    interval: Interval | None
    effect: float | None
    effect_interval: Interval | None
    wins: int
    ties: int
    losses: int
    test: str
    p: float | None
    margin: float | None = None
    p_equivalent: float | None = None
    correction: str = "none"
    missing: str = ""

    @property
    def significant(self) -> bool:
        """Whether there is a difference, at a level of 0.05."""
        return self.p is not None and self.p < ALPHA

    @property
    def equivalent(self) -> bool:
        """Whether the difference is smaller than the margin, at a level of 0.05. Without a test, it is not."""
        return self.p_equivalent is not None and self.p_equivalent < ALPHA

    def as_json(self) -> dict[str, Any]:
        """Everything, unrounded, with the finding."""
        return {**asdict(self), "finding": self.finding}

    @property
    def finding(self) -> str:
        """What the tests show: ``better``, ``worse``, ``same within 0.01``, both (``better, same ...``), or nothing."""
        found = [("better" if self.difference > 0 else "worse")] if self.significant else []
        return ", ".join([*found, *([f"same within {self.margin:g}"] if self.equivalent else [])])


def compare(differences: Sequence[float], *, test: Test = "auto", margin: float | None = None) -> Comparison:
    """Compare two systems over the same queries.

    The tests, all two-sided and, where they draw numbers, with a fixed seed:

    - ``randomization``: each difference keeps its sign or not; the share of sign patterns with a mean at least as far
      from 0 (Smucker et al., CIKM 2007). All patterns if there are at most 100,000, otherwise a random sample.
    - ``wilcoxon``: the signed-rank test; queries without a difference are left out.
    - ``t``: Student's paired t-test.
    - ``bootstrap``: studentized, from samples of the queries (Sakai, SIGIR 2006).
    - ``auto``: ``randomization`` up to 999 queries, ``t`` from 1,000. For about 50 topics, tests that assume little are
      usual; of these, ``randomization`` tests the difference of means that tables show, while ``wilcoxon`` tests ranks
      (with Benjamini-Hochberg's correction it has the most power: Otero et al., arXiv 2501.03930). With thousands of
      queries, randomization, bootstrap, and t agree, and Wilcoxon finds differences that are not there (Ihemelandu and
      Ekstrand, arXiv 2305.02461); then the t-test is the cheapest. See also Urbano et al., arXiv 1905.11096.

    Equivalence is tested by two one-sided t-tests (TOST): a p-value that is not small says "not known to differ", and
    only TOST may say "the same".

    Args:
        differences: of each query, the system's value minus the baseline's; at least one, all finite.
        test: the test.
        margin: for TOST, the largest difference that does not matter, in units of the measure, above 0.

    Returns:
        The comparison, with uncorrected p-values. Equal values on all queries have p 1. What is undefined is None, and
        `Comparison.missing` says why.

    Example:
        >>> found = compare([0.2, 0.1, 0.0, 0.3, 0.1, 0.2, -0.1, 0.2])
        >>> (round(found.difference, 3), found.wins, found.ties, found.losses, found.p)
        (0.125, 6, 1, 1, 0.0625)
    """
    values = np.asarray(np.round(differences, _DIGITS), dtype=np.float64)
    mean, wins, losses = math.fsum(differences) / len(values), int((values > 0).sum()), int((values < 0).sum())
    chosen = cast(Test, ("t" if len(values) >= MANY else "randomization") if test == "auto" else test)
    found = Comparison(
        queries=len(values),
        difference=mean,
        interval=None,
        effect=None,
        effect_interval=None,
        wins=wins,
        ties=len(values) - wins - losses,
        losses=losses,
        test=chosen,
        p=None,
        margin=margin,
    )
    without_variance = {"randomization": _randomization, "wilcoxon": _wilcoxon}.get(chosen)
    if len(values) == 1:
        return replace(found, missing="one query is too few for a test")
    if not wins and not losses:
        return replace(found, p=1.0, missing="no query differs")
    if values.max() - values.min() <= 1e-9 * np.abs(values).max():  # they have no variance, by which t is divided
        p = without_variance(values) if without_variance else None
        return replace(found, p=p, missing="all queries differ by the same amount")
    p, interval = (_bootstrap if chosen == "bootstrap" else _student)(values)
    if without_variance:
        p = without_variance(values)
    effect, effect_interval = _effect(values)
    return replace(
        found,
        interval=interval,
        effect=effect,
        effect_interval=effect_interval,
        p=p,
        p_equivalent=None if margin is None else _equivalence(values, margin),
        missing="" if interval else "too few different queries for the bootstrap",
    )


def differences(
    baseline: Mapping[str, Mapping[str, float]], system: Mapping[str, Mapping[str, float]], measure: str
) -> list[float]:
    """The paired differences of two runs.

    Args:
        baseline: qid to measure to value (`limrank_ir.ranking.evaluate.Evaluation.per_query`).
        system: the same for the other run, with the same queries.
        measure: the measure.

    Returns:
        System minus baseline, in the baseline's order of queries.
    """
    return [system[qid][measure] - values[measure] for qid, values in baseline.items()]


def correct(comparisons: Sequence[Comparison], correction: Correction = "holm") -> list[Comparison]:
    """Correct the p-values of several comparisons, those of the differences and those of equivalence each on their own.

    Args:
        comparisons: all comparisons by one measure that are reported together.
        correction: ``holm`` (Holm: the chance of any false finding stays below 5%), ``bh`` (Benjamini-Hochberg: the
            expected share of false findings does), or ``none``.

    Returns:
        The comparisons in the same order. A p-value that is None does not count as a test.
    """
    ps = corrected([found.p for found in comparisons], correction)
    same = corrected([found.p_equivalent for found in comparisons], correction)
    return [
        replace(found, p=p, p_equivalent=equivalent, correction=correction)
        for found, p, equivalent in zip(comparisons, ps, same, strict=True)
    ]


def corrected(p_values: Sequence[float | None], correction: Correction) -> list[float | None]:
    """Correct p-values.

    The figures are those of statsmodels' ``multipletests``, which collects garbage at each call: 0.3 s beside a model.

    Args:
        p_values: one for each test; None if a test is undefined, which then does not count as a test.
        correction: see `correct`.

    Returns:
        The corrected values in the same order, None where they were None.
    """
    from scipy.stats import false_discovery_control  # type: ignore[import-untyped]

    defined = np.array([p for p in p_values if p is not None], dtype=np.float64)
    if correction == "none" or not len(defined):
        return list(p_values)
    remaining = iter(false_discovery_control(defined) if correction == "bh" else _holm(defined))
    return [None if p is None else float(next(remaining)) for p in p_values]


def _holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down procedure: the smallest of m times m, the next times m - 1, and so on, never falling."""
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    found = np.empty_like(raised)
    found[order] = np.minimum(raised, 1)
    return found


def describe(comparisons: Sequence[Comparison]) -> str:
    """Name the tests and the correction, for the notes below a table.

    >>> describe(correct([compare([0.1, 0.2, -0.1]), compare([0.1, 0.0])], "bh"))
    'paired randomization tests, Benjamini-Hochberg correction'
    """
    tests = [_TEST_NAMES[test] for test in dict.fromkeys(found.test for found in comparisons)]
    corrections = [_CORRECTION_NAMES[name] for name in dict.fromkeys(found.correction for found in comparisons)]
    return f"paired {' or '.join(tests)}, {' or '.join(corrections)}"


def _student(values: NDArray[np.float64]) -> tuple[float, Interval]:
    """The t-test's p, and Student's interval of the mean."""
    from scipy.stats import ttest_1samp

    found = ttest_1samp(values, 0.0)
    low, high = found.confidence_interval(1 - ALPHA)
    return float(found.pvalue), (float(low), float(high))


def _wilcoxon(values: NDArray[np.float64]) -> float:
    from scipy.stats import wilcoxon

    return float(wilcoxon(values).pvalue)


def _randomization(values: NDArray[np.float64]) -> float:
    """The sign-flip test's p.

    `scipy.stats.permutation_test` gives the same exact values (a test compares them); it is 10 times slower, and a
    suite makes hundreds of tests.
    """
    values = values[values != 0]  # their signs change nothing, and without them there are fewer patterns
    count, total = len(values), values.sum()
    # Sums of the same numbers in another order differ in the last digit.
    bound = abs(total) - 1e-12 * np.abs(values).sum()

    def extreme(kept: NDArray[np.float64]) -> int:
        """How many patterns give a sum at least as far from 0; 1 keeps a sign, and 0 turns it."""
        return int((np.abs(2 * (kept @ values) - total) >= bound).sum())

    if 2**count <= RESAMPLES + 1:
        return extreme(_patterns(count)) / 2**count
    generator = np.random.default_rng(_SEED)
    drawn = sum(
        extreme(generator.integers(0, 2, (size, count), dtype=np.int8).astype(np.float64))
        for size in _chunks(RESAMPLES, count)
    )
    return (drawn + 1) / (RESAMPLES + 1)  # the observed signs are one of the patterns: p is never 0


@lru_cache(maxsize=4)
def _patterns(count: int) -> NDArray[np.float64]:
    """All patterns of 0 and 1, one per row."""
    return np.asarray((np.arange(2**count)[:, None] >> np.arange(count)) & 1, dtype=np.float64)


def _bootstrap(values: NDArray[np.float64]) -> tuple[float, Interval | None]:
    """The studentized bootstrap's p and interval, which excludes 0 where p is below 0.05."""
    generator, count = np.random.default_rng(_SEED), len(values)
    mean, error = values.mean(), values.std(ddof=1) / math.sqrt(count)
    statistics = []
    for size in _chunks(BOOTSTRAPS, count):
        sample = values[generator.integers(0, count, (size, count))]
        spread = sample.std(axis=1, ddof=1) / math.sqrt(count)
        with np.errstate(divide="ignore", invalid="ignore"):  # a sample of equal values: infinitely far, or not at all
            statistics.append(np.nan_to_num(np.abs(sample.mean(axis=1) - mean) / spread, nan=0.0, posinf=np.inf))
    distances = np.concatenate(statistics)
    p = (int((distances >= abs(mean) / error).sum()) + 1) / (BOOTSTRAPS + 1)
    reach = float(np.quantile(distances, 1 - ALPHA, method="higher")) * error
    return p, (float(mean - reach), float(mean + reach)) if math.isfinite(reach) else None


def _chunks(rows: int, columns: int) -> list[int]:
    """How many rows at once."""
    size = max(1, _CHUNK // columns)
    return [min(size, rows - first) for first in range(0, rows, size)]


def _effect(values: NDArray[np.float64]) -> tuple[float, Interval | None]:
    """d_z and its interval: the noncentrality parameters for which this t is at the 97.5th and the 2.5th percentile."""
    from scipy.special import nctdtrinc  # type: ignore[import-untyped]

    root = math.sqrt(len(values))
    effect = float(values.mean() / values.std(ddof=1))
    low, high = (float(nctdtrinc(len(values) - 1, share, effect * root)) / root for share in (1 - ALPHA / 2, ALPHA / 2))
    return effect, (low, high) if low <= effect <= high else None  # NaN, for an extreme t


def _equivalence(values: NDArray[np.float64], margin: float) -> float:
    """The p of TOST: the larger one of two one-sided t-tests."""
    from statsmodels.stats.weightstats import DescrStatsW  # type: ignore[import-untyped]

    return float(DescrStatsW(values).ttost_mean(-margin, margin)[0])
