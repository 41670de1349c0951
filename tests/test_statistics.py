"""Paired comparisons: against scipy, statsmodels, and full enumeration; and what is undefined says so."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from limrank_ir.benchmarks.suite import cli as suite_cli
from limrank_ir.cli import options
from limrank_ir.ranking import statistics
from limrank_ir.ranking.calibration import BINS, calibration
from limrank_ir.ranking.statistics import CORRECTIONS, TESTS, compare, correct, corrected, describe, differences

VALUES = [0.12, -0.03, 0.0, 0.25, 0.31, -0.11, 0.07, 0.18, 0.0, 0.09, -0.02, 0.22]
quarters = st.integers(-4, 4).map(lambda number: number / 4)  # as in RR and nDCG, many differences are equal or 0
shares = st.floats(0, 1)


@given(st.lists(quarters, min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_randomization_is_the_share_of_all_sign_patterns(values):
    sums = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in
            itertools.product((-1, 1), repeat=len(values))]  # fmt: skip
    expected = sum(each >= abs(sum(values)) - 1e-9 for each in sums) / len(sums)
    assert compare(values, test="randomization").p == pytest.approx(expected)


def test_randomization_agrees_with_scipy():
    found = stats.permutation_test((VALUES,), np.mean, permutation_type="samples", n_resamples=math.inf)
    assert compare(VALUES, test="randomization").p == pytest.approx(found.pvalue)


def test_many_queries_are_sampled_and_agree_with_the_t_test():
    values = np.random.default_rng(5).normal(0.02, 0.2, 300)
    p = compare(values, test="randomization").p
    assert p == compare(values, test="randomization").p  # the seed is fixed
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    assert compare([0.5 + value for value in values], test="randomization").p > 0


def test_the_other_tests_are_scipys():
    assert compare(VALUES, test="wilcoxon").p == stats.wilcoxon(VALUES).pvalue
    one = np.random.default_rng(1).random(len(VALUES))
    expected = stats.ttest_rel(one + VALUES, one)
    found = compare((one + VALUES - one).tolist(), test="t")
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_the_bootstrap_is_near_the_t_test_and_its_interval_excludes_0_where_it_is_significant():
    for seed, mean in itertools.product(range(3), (0.0, 0.03, 0.06)):
        values = np.random.default_rng(seed).normal(mean, 0.2, 80)
        found, t = compare(values, test="bootstrap"), compare(values, test="t")
        assert found.p == pytest.approx(t.p, abs=0.02)
        assert found.interval == pytest.approx(t.interval, abs=0.01)
        assert (found.interval[0] > 0 or found.interval[1] < 0) == found.significant


def test_intervals_cover_the_truth():
    generator = np.random.default_rng(0)
    covered = {"mean": 0, "effect": 0}
    for _ in range(400):
        found = compare(generator.normal(0.1, 0.2, 20), test="t")
        covered["mean"] += found.interval[0] <= 0.1 <= found.interval[1]
        covered["effect"] += found.effect_interval[0] <= 0.5 <= found.effect_interval[1]
    for count in covered.values():
        assert 367 <= count <= 392  # 95% of 400, three standard deviations around it


def test_the_effect_size_is_the_mean_in_standard_deviations():
    found = compare(VALUES)
    t = np.mean(VALUES) / np.std(VALUES, ddof=1) * math.sqrt(len(VALUES))
    assert found.effect == pytest.approx(np.mean(VALUES) / np.std(VALUES, ddof=1))
    low, high = (bound * math.sqrt(len(VALUES)) for bound in found.effect_interval)
    assert stats.nct.sf(t, len(VALUES) - 1, low) == pytest.approx(0.025, abs=1e-6)
    assert stats.nct.cdf(t, len(VALUES) - 1, high) == pytest.approx(0.025, abs=1e-6)


@given(st.lists(quarters, min_size=1, max_size=12), st.sampled_from(TESTS))
@settings(max_examples=30, deadline=None)
def test_every_comparison_adds_up_and_the_other_direction_mirrors_it(values, test):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(values, test=test, margin=0.1)
        other = compare([-value for value in values], test=test, margin=0.1)
    assert found.wins + found.ties + found.losses == found.queries == len(values)
    assert (found.wins, found.ties, found.losses) == (other.losses, other.ties, other.wins)
    assert found.difference == pytest.approx(-other.difference)
    assert found.test != "auto" and math.isfinite(found.difference)
    for name in ("p", "p_equivalent"):
        mine, mirrored = getattr(found, name), getattr(other, name)
        assert mine is mirrored is None or (0 <= mine <= 1 and mine == pytest.approx(mirrored))
    for name in ("interval", "effect_interval"):
        mine, mirrored = getattr(found, name), getattr(other, name)
        assert mine is mirrored is None or mine == pytest.approx((-mirrored[1], -mirrored[0]), abs=1e-6)
    assert found.missing or None not in (found.p, found.p_equivalent, found.interval, found.effect)


def test_rounding_errors_are_no_differences():
    found = compare([0.1 + 0.2 - 0.3, 0.3 - 0.1 - 0.2, 0.5])
    assert (found.wins, found.ties, found.losses) == (1, 2, 0)


UNDEFINED = {
    "one query": ([0.5], "t", None, "one query is too few for a test"),
    "no difference": ([0.0, 0.0, 0.0], "t", 1.0, "no query differs"),
    "equal differences, t": ([0.1, 0.1, 0.1], "t", None, "all queries differ by the same amount"),
    "equal differences, bootstrap": ([0.1, 0.1, 0.1], "bootstrap", None, "all queries differ by the same amount"),
    "equal differences, randomization": ([0.1] * 3, "randomization", 0.25, "all queries differ by the same amount"),
    "equal differences, Wilcoxon": ([0.1] * 3, "wilcoxon", 0.25, "all queries differ by the same amount"),
}


@pytest.mark.parametrize(("values", "test", "p", "missing"), UNDEFINED.values(), ids=UNDEFINED)
def test_what_is_undefined_is_none_and_says_why(values, test, p, missing):
    found = compare(values, test=test, margin=0.5)
    assert (found.p, found.missing) == (p, missing)
    assert found.interval is found.effect is found.p_equivalent is None
    assert not found.equivalent


def test_the_test_depends_on_the_number_of_queries():
    assert [compare([0.1, -0.2] * half).test for half in (25, 499, 500)] == ["randomization", "randomization", "t"]


@given(st.lists(quarters, min_size=3, max_size=12).filter(lambda v: len(set(v)) > 1), st.floats(0.01, 0.5))
@settings(max_examples=30, deadline=None)
def test_equivalence_is_tost(values, margin):
    found = compare(values, margin=margin)
    expected, _, _ = ttost_paired(np.array(values), np.zeros(len(values)), -margin, margin)
    assert found.p_equivalent == pytest.approx(expected)
    assert found.equivalent == (expected < 0.05)


def test_the_same_is_said_only_after_tost():
    near, far = [0.001, -0.001] * 40, [0.2, -0.2] * 4
    assert compare(near, margin=0.01).finding == "same within 0.01"
    assert compare(near).finding == ""  # not asked for, so not known
    assert (compare(far, margin=0.01).p, compare(far, margin=0.01).finding) == (1.0, "")
    tiny = [0.004, 0.003, 0.002, 0.003] * 20
    assert compare(tiny, margin=0.01).finding == "better, same within 0.01"
    assert compare([-value for value in tiny]).finding == "worse"


@given(st.lists(st.none() | shares, max_size=8), st.sampled_from(CORRECTIONS))
@settings(max_examples=60, deadline=None)
def test_corrections_raise_p_values_keep_their_order_and_leave_out_undefined_ones(p_values, correction):
    found = corrected(p_values, correction)
    assert [p is None for p in found] == [p is None for p in p_values]
    pairs = sorted((before, after) for before, after in zip(p_values, found, strict=True) if before is not None)
    assert all(before <= after + 1e-12 and after <= 1 for before, after in pairs)
    assert [after for _, after in pairs] == sorted(after for _, after in pairs)


def test_corrections_are_statsmodels():
    raw = [0.01, 0.04, 0.03, 0.2, 0.04, 0.0, 1.0, 0.012, 0.6, 0.0299, 0.03]
    assert corrected(raw, "holm") == pytest.approx(list(multipletests(raw, method="holm")[1]))
    assert corrected(raw, "bh") == pytest.approx(list(multipletests(raw, method="fdr_bh")[1]))
    assert corrected([0.01, None, 0.04], "holm") == [0.02, None, 0.04]


def test_a_correction_can_undo_a_finding_and_equivalence_is_corrected_on_its_own():
    values = [0.3, 0.1, 0.2, -0.1, 0.25, 0.3, 0.2, 0.1]
    alone = compare(values, margin=0.5)
    assert alone.finding == "better, same within 0.5"
    found = correct([compare(values, margin=0.5)] * 5, "holm")
    assert found[0].p == pytest.approx(5 * alone.p) and found[0].p_equivalent == pytest.approx(5 * alone.p_equivalent)
    assert found[0].finding == "same within 0.5" and found[0].correction == "holm"
    assert describe(found) == "paired randomization tests, Holm's correction"


def test_differences_go_by_query():
    one, other = {"a": {"RR": 0.5}, "b": {"RR": 1.0}}, {"b": {"RR": 0.5}, "a": {"RR": 1.0}}
    assert differences(one, other, "RR") == [0.5, -0.5]


def test_the_command_lines_names_are_the_librarys():
    assert get_args(get_args(options.TestName)[0]) == TESTS
    assert get_args(get_args(options.CorrectionName)[0]) == CORRECTIONS
    assert suite_cli.MARGIN == statistics.MARGIN


@given(st.lists(st.tuples(st.floats(-40, 40), st.booleans()), min_size=1, max_size=40), st.sampled_from(BINS))
@settings(max_examples=40, deadline=None)
def test_calibration_counts_every_pair_once(pairs, bins):
    odds, relevant = zip(*pairs, strict=True)
    found = calibration(odds, relevant, bins=bins)
    assert sum(row.pairs for row in found.bins) == found.pairs == len(pairs)
    assert sum(row.pairs * row.relevant for row in found.bins) == pytest.approx(sum(relevant))
    probabilities = [1 / (1 + math.exp(-each)) for each in odds]
    assert sum(row.pairs * row.predicted for row in found.bins) == pytest.approx(sum(probabilities))
    expected = np.mean([(p - r) ** 2 for p, r in zip(probabilities, relevant, strict=True)])
    assert found.brier == pytest.approx(expected)
    assert 0 <= found.ece <= 1 and all(row.low <= row.predicted + 1e-9 for row in found.bins)
    edges = [bound for row in found.bins for bound in (row.low, row.high)]
    assert edges == sorted(edges)
    if bins == "mass":
        assert max(row.pairs for row in found.bins) - min(row.pairs for row in found.bins) <= 1


def test_perfect_and_worst_calibration():
    assert calibration([900.0, -900.0], [True, False]).brier == 0
    worst = calibration([900.0, -900.0], [False, True])
    assert (worst.brier, worst.ece) == (1, 1)
    always = calibration([0.0] * 4, [True, False, False, True])
    assert (always.brier, always.ece, len(always.bins)) == (0.25, 0, 1)
