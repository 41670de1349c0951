"""Adaptive: a budget of judgments, and estimates that are never given as judgments."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.errors import InputError
from limrank_ir.rankers.adaptive import Adaptive
from limrank_ir.rankers.lockstep import lockstep

from .judges import Noisy, Nonsense, Perfect, candidates, ideal, rank

FEW = settings(max_examples=40, deadline=None)
RANKER = st.builds(
    Adaptive,
    budget=st.integers(1, 40),
    rounds=st.integers(1, 6),
    top=st.integers(1, 12),
    depth=st.none() | st.integers(0, 30),
)


def explained(seed, count=80, columns=6):
    """Grades that are a linear function of the vectors, as CUR assumes, and unrelated to the first stage's order."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, columns))
    grades = vectors @ rng.normal(size=columns)
    grades = 10 * (grades - grades.min()) / (grades.max() - grades.min())
    return [float(grade) for grade in grades], vectors.tolist()


@FEW
@given(RANKER, st.lists(st.integers(0, 10), max_size=40))
def test_the_budget_holds_nothing_is_asked_twice_and_marks_are_true(ranker, grades):
    judge = Perfect()
    order = rank(ranker, candidates(grades), judge)
    depth = len(grades) if ranker.depth is None else min(ranker.depth, len(grades))
    assert order.counts.questions == len(judge.asked) == min(ranker.budget, depth) == ranker.calls(len(grades))
    assert len({question.passages for question in judge.asked}) == len(judge.asked)
    assert len(judge.batches) <= ranker.rounds
    asked = {question.passages[0] for question in judge.asked}
    texts = candidates(grades).texts
    for index, mark, score in zip(order.indices, order.marks, order.scores, strict=True):
        assert (mark == "judged") == (texts[index] in asked)
        if mark == "judged":
            assert score == pytest.approx(2 * (grades[index] - 5), abs=1e-3)
    assert set(order.marks[: min(ranker.top, len(asked))]) <= {"judged"}
    assert list(order.indices[depth:]) == list(range(depth, len(grades)))


@FEW
@given(st.lists(st.integers(0, 10), max_size=40))
def test_a_budget_for_all_gives_the_ideal_order(grades):
    order = rank(Adaptive(budget=40, rounds=3), candidates(grades), Perfect())
    assert list(order.indices) == ideal(grades)
    assert set(order.marks) <= {"judged"}


@pytest.mark.parametrize("seed", range(8))
def test_a_part_of_the_budget_finds_the_ideal_top_where_vectors_explain_the_scores(seed):
    grades, vectors = explained(seed)
    ranker = Adaptive(budget=30, rounds=3, top=10, ridge=1e-6)
    order = rank(ranker, candidates(grades, vectors=vectors), Perfect())
    assert list(order.indices[:10]) == ideal(grades)[:10]
    assert order.marks.count("judged") == 30
    # Without the vectors, the first stage's order says nothing, and the same budget finds less.
    blind = rank(ranker, candidates(grades), Perfect())
    assert list(blind.indices[:10]) != ideal(grades)[:10]
    # Least squares are exact here, so the estimates are, too, up to the ceiling that keeps them out of the top.
    for index, mark, score in zip(order.indices, order.marks, order.scores, strict=True):
        if mark == "estimated":
            assert score == pytest.approx(2 * (grades[index] - 5), abs=1e-2)


def test_later_rounds_judge_what_is_estimated_best():
    grades = [float(number % 10) for number in range(60)]
    vectors = [[grade] for grade in grades]
    judge = Perfect()
    rank(Adaptive(budget=20, rounds=4), candidates(grades, vectors=vectors, scores=[1.0] * 60), judge)
    assert [len(batch) for batch in judge.batches] == [5, 5, 5, 5]
    assert [question.passages[0] for question in judge.batches[0]] == [
        f"passage {number} of grade {number % 10}.0" for number in (0, 1, 2, 30, 59)
    ]
    later = [question.passages[0] for batch in judge.batches[1:3] for question in batch]
    assert all(text.endswith(("9.0", "8.0")) for text in later)


def test_a_high_estimate_does_not_reach_the_top():
    grades = [2.0, 4.0, 0.0, 6.0, 1.0, 8.0]
    vectors = [[1.0], [2.0], [9.0], [3.0], [0.5], [4.0]]  # the third one promises far more than it keeps
    order = rank(Adaptive(budget=4, rounds=1, top=2), candidates(grades, vectors=vectors), Perfect())
    assert order.indices[:3] == (5, 3, 2)
    assert order.marks[:3] == ("judged", "judged", "estimated")
    assert order.scores[:2] == pytest.approx((6, 2))
    assert order.scores[2] == pytest.approx(2, abs=1e-4)


@FEW
@given(RANKER, st.integers(0, 40), st.booleans())
def test_nonsense_changes_nothing(ranker, count, vectors):
    given_ = candidates(range(count), vectors=[[float(number)] for number in range(count)] if vectors else None)
    order = rank(ranker, given_, Nonsense())
    assert list(order.indices) == list(range(count))
    assert set(order.marks) <= {"placed"}
    assert order.counts.questions == order.counts.failed == ranker.calls(count)


def test_what_failed_is_not_asked_again_and_is_marked_as_estimated():
    class Mute(Perfect):
        def read(self, task, grades):
            return [] if grades == [9.0] else super().read(task, grades)

    grades = [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    judge = Mute()
    order = rank(Adaptive(budget=8, rounds=2, top=3), candidates(grades), judge)
    assert len(judge.asked) == 8
    assert dict(zip(order.indices, order.marks, strict=True))[0] == "estimated"
    assert "estimated" not in order.marks[:3]
    assert order.counts.failed == 1


@FEW
@given(RANKER, st.integers(0, 40), st.sampled_from([None, 0.0, 1.5]))
def test_equal_passages_keep_their_order(ranker, count, score):
    given_ = candidates([4] * count, scores=None if score is None else [score] * count, vectors=[[1.0, 2.0]] * count)
    order = rank(ranker, given_, Perfect())
    judged = [index for index, mark in zip(order.indices, order.marks, strict=True) if mark == "judged"]
    assert judged == sorted(judged)


def test_a_noisy_judge_gives_the_same_orders_however_many_queries_run_at_once():
    ranker = Adaptive(budget=12, rounds=3)
    rng = random.Random(0)
    given_ = []
    for number in range(6):
        grades = [rng.uniform(0, 10) for _ in range(30)]
        vectors = [[grade, rng.uniform(0, 1)] for grade in grades]
        given_.append(candidates(grades, f"query {number}", vectors=vectors))
    alone = [rank(ranker, each, Noisy()) for each in given_]
    for live in (1, 4, 64):
        found = dict(lockstep((ranker.steps(each) for each in given_), Noisy(), live=live))
        assert [found[number] for number in range(6)] == alone


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0], [2.0, 3.0], [1.0]], "one shape"),
        ([["a"], ["b"], ["c"]], "not numbers"),
        ([[1.0], [float("nan")], [2.0]], "finite"),
        ([1.0, 2.0, 3.0], "one vector"),
    ],
)
def test_wrong_vectors_are_refused_before_anything_is_asked(vectors, message):
    judge = Perfect()
    with pytest.raises(InputError, match=message):
        rank(Adaptive(), candidates([1, 2, 3], vectors=vectors), judge)
    assert not judge.asked


@pytest.mark.parametrize("ridge", [1e-9, 1e9])
@pytest.mark.parametrize("number", [4, 30])
def test_every_ridge_that_is_accepted_gives_finite_estimates(ridge, number):
    vectors = [
        [1.0, 1e-8 * place, 0.0] for place in range(2 * number)
    ]  # judged ones that a ridge of 0 cannot tell apart
    given_ = candidates([place % 4 for place in range(2 * number)], vectors=vectors)
    with np.errstate(all="raise", under="ignore"):
        order = rank(Adaptive(budget=number, ridge=ridge, top=1), given_, Perfect())
    assert order.marks.count("estimated") == number and np.isfinite(order.scores).all()


@pytest.mark.parametrize("ridge", [1e-30, 1e308, float("inf"), float("nan"), -1.0])
def test_a_ridge_that_no_system_can_be_solved_with_is_refused(ridge):
    with pytest.raises(InputError, match=r"adaptive: the ridge is .*; give a number from 1e-09 to 1e\+09"):
        Adaptive(budget=4, ridge=ridge)


def test_fewer_judged_passages_than_the_top_has_places_are_followed_by_estimates():
    order = rank(Adaptive(budget=3, rounds=1, top=10), candidates(range(20)), Perfect())
    assert order.marks[:4] == ("judged", "judged", "judged", "estimated")


@pytest.mark.parametrize("option", [{"budget": 0}, {"rounds": 0}, {"top": 0}, {"ridge": 0}, {"depth": -1}])
def test_wrong_options_are_refused(option):
    with pytest.raises(InputError):
        Adaptive(**option)


@pytest.mark.parametrize(
    "vectors",
    [
        [[0.0, 0.0]] * 9,
        [[1.0, 0.0]] * 8 + [[1.0, 1e-200]],
        [[1.0, place * 1e-180] for place in range(9)],
        [[1.0, place * 1e-150] for place in range(8)] + [[2.0, 0.0]],
        [[5e-324 * place] for place in range(9)],
        [[1e308 * (-1) ** place] for place in range(9)],
        [[1e308, place * 1e-20] for place in range(9)],
    ],
)
@pytest.mark.parametrize("scores", [None, [0.0] * 9, [0.1] * 9, [1.0] * 8 + [1.0 - 1e-16]])
def test_vectors_and_scores_that_hardly_differ_give_finite_estimates(vectors, scores):
    given_ = candidates([place % 4 for place in range(9)], scores=scores, vectors=vectors)
    with np.errstate(all="raise", under="ignore"):
        order = rank(Adaptive(budget=4, rounds=2, top=1), given_, Perfect())
    assert "estimated" in order.marks
