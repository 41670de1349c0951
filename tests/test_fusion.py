"""Fusion: what it does not depend on, its extremes, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir import LimRankError, fuse
from limrank_ir.ranking.fusion import checked_scores, fusion_weight

# Tenths, so that no two different scores are close enough for rounding to make them equal.
SCORE = st.integers(-1000, 1000).map(lambda tenths: tenths / 10)
CANDIDATES = st.lists(st.tuples(SCORE, SCORE), max_size=30).map(lambda rows: np.array(rows).reshape(-1, 2).T)
WEIGHT = st.floats(0, 1)


@given(CANDIDATES, WEIGHT, st.floats(0.01, 100), st.floats(-100, 100))
def test_scale_and_offset_of_the_inputs_do_not_matter(scores, weight, factor, shift):
    odds, first = scores
    expected = fuse(odds, first, weight)
    assert fuse(factor * odds + shift, first, weight) == pytest.approx(expected, abs=1e-6)
    assert fuse(odds, factor * first + shift, weight) == pytest.approx(expected, abs=1e-6)


@given(CANDIDATES)
def test_the_extreme_weights_keep_one_order(scores):
    odds, first = scores
    for weight, alone in ((1.0, odds), (0.0, first)):
        fused = fuse(odds, first, weight)
        assert np.argsort(-fused, kind="stable").tolist() == np.argsort(-alone, kind="stable").tolist()


@given(CANDIDATES, WEIGHT, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(scores, weight, random):
    order = random.sample(range(scores.shape[1]), scores.shape[1])
    assert fuse(*scores[:, order], weight) == pytest.approx(fuse(*scores, weight)[order], abs=1e-9)


@given(CANDIDATES, WEIGHT)
def test_better_in_both_is_better(scores, weight):
    fused = fuse(*scores, weight)
    better = (scores[:, :, None] > scores[:, None, :]).all(axis=0)
    assert (fused[:, None] > fused[None, :])[better].all()


def test_the_rule_by_hand():
    fused = fuse([1.0, 2.0, 6.0], [30.0, 10.0, 20.0], 0.8)
    odds = np.array([-2.0, -1.0, 3.0]) / math.sqrt(14 / 3)
    first = np.array([10.0, -10.0, 0.0]) / math.sqrt(200 / 3)
    assert fused.dtype == np.float64
    assert fused == pytest.approx(0.8 * odds + 0.2 * first, abs=1e-12)


def test_equal_scores_have_no_effect():
    assert fuse([], [], 0.5).shape == (0,)
    assert fuse([3.0], [-7.0], 0.5).tolist() == [0.0]
    assert fuse([0.1] * 3, [0.1] * 3, 0.5).tolist() == [0.0] * 3  # their standard deviation in NumPy is not 0
    assert fuse([0.1] * 3, [1.0, 3.0, 2.0], 0.5) == pytest.approx(fuse([1.0, 3.0, 2.0], [0.1] * 3, 0.5))


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e200, 1e308])
def test_scores_of_any_size_are_finite_and_in_order(size):
    assert fuse([0.0, 0.0, 0.0], [size, -size, 0.0], 0.0) == pytest.approx([math.sqrt(1.5), -math.sqrt(1.5), 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1.0], 0.5), "1 first-stage scores for 2 candidates; give one for each"),
        (([1.0, 2.0], [1.0, math.nan], 0.5), "first-stage scores: number 1 is nan; remove"),
        (([1.0, 2.0], [-math.inf, 1.0], 0.5), "first-stage scores: number 0 is -inf; remove"),
        (([1.0, 2.0], [None, 1.0], 0.5), "first-stage scores: number 0 is nan"),
        (([math.nan, 2.0], [1.0, 1.0], 0.5), "log-odds: number 0 is nan"),
        (([1.0, 2.0], ["high", "low"], 0.5), "first-stage scores: not numbers"),
        (([1.0, 2.0], [[1.0, 2.0]], 0.5), r"first-stage scores: an array of shape \(1, 2\)"),
        (([1.0], [1.0], 1.01), "the fusion weight is 1.01; give a number from 0"),
        (([1.0], [1.0], -0.01), "the fusion weight is -0.01"),
        (([1.0], [1.0], math.nan), "the fusion weight is nan"),
        (([1.0], [1.0], "0.5"), "the fusion weight is '0.5'"),
        (([1.0], [1.0], None), "the fusion weight is None"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, message):
    with pytest.raises(LimRankError, match=message) as caught:
        fuse(*arguments)
    assert "\n" not in str(caught.value)


def test_the_option_is_true_false_or_a_weight():
    options = (True, np.True_, False, 0.25, np.float32(0.25), 0, 1)
    assert [fusion_weight(option, 0.8) for option in options] == [0.8, 0.8, None, 0.25, 0.25, 0.0, 1.0]
    with pytest.raises(LimRankError, match="the fusion weight is 2"):
        fusion_weight(2, 0.8)


def test_inputs_are_not_changed():
    first = np.array([3, 1, 2])
    assert checked_scores(first, 3).dtype == np.float64
    fuse([1, 2, 3], first, 0.5)
    assert first.tolist() == [3, 1, 2] and first.dtype == np.int64
