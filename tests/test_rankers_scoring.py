"""Rankers with scores: pointwise, graded, groupwise, two stages."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.errors import InputError
from limrank_ir.rankers.first import First
from limrank_ir.rankers.graded import Graded
from limrank_ir.rankers.groupwise import Groupwise
from limrank_ir.rankers.intent import Intent
from limrank_ir.rankers.listwise import Listwise
from limrank_ir.rankers.lockstep import lockstep
from limrank_ir.rankers.pointwise import Pointwise
from limrank_ir.rankers.setwise import Setwise
from limrank_ir.rankers.two_stages import TwoStages

from .judges import Noisy, Nonsense, Perfect, candidates, ideal, normalized, rank

FEW = settings(max_examples=50, deadline=None)
GRADES = st.lists(st.integers(0, 10), max_size=30)
DEPTH = st.none() | st.integers(0, 20)
ONE_BY_ONE = (
    st.builds(Pointwise, depth=DEPTH)
    | st.builds(Graded, depth=DEPTH, highest=st.sampled_from([4, 10]), rule=st.sampled_from(["expected", "tfrank"]))
    | st.builds(Intent, depth=DEPTH, slope=st.sampled_from([0.0, 1.0]))
)
GROUPWISE = st.builds(Groupwise, depth=DEPTH, window=st.integers(1, 12), repeats=st.integers(1, 3))
ALL = ONE_BY_ONE | GROUPWISE | st.builds(Graded, depth=DEPTH, rule=st.just("erank"))


def reranked(ranker, grades):
    return len(grades) if ranker.depth is None else min(ranker.depth, len(grades))


@FEW
@given(ONE_BY_ONE | GROUPWISE, GRADES)
def test_a_perfect_judge_gives_the_ideal_order(ranker, grades):
    judge = Perfect()
    order = rank(ranker, candidates(grades), judge)
    depth = reranked(ranker, grades)
    assert list(order.indices) == [*ideal(grades[:depth]), *range(depth, len(grades))]
    assert list(order.marks) == ["judged"] * depth + ["placed"] * (len(grades) - depth)
    assert order.counts.questions == len(judge.asked) == ranker.calls(len(grades))
    assert len(judge.batches) == (depth > 0)
    assert order.counts.failed == order.counts.repaired == 0


@FEW
@given(ALL, st.integers(0, 25))
def test_nonsense_changes_nothing_and_equal_passages_keep_their_order(ranker, count):
    order = rank(ranker, candidates([number % 11 for number in range(count)]), Nonsense())
    assert list(order.indices) == list(range(count))
    assert set(order.marks) <= {"placed"}
    assert order.counts.questions == order.counts.failed == ranker.calls(count)
    judge = Perfect()
    same = replace(candidates([3] * count), texts=["passage of grade 3"] * count)
    assert list(rank(ranker, same, judge).indices) == list(range(count))
    assert len(judge.asked) == ranker.calls(count)


@FEW
@given(
    ALL | st.builds(TwoStages, top=st.integers(1, 12)),
    st.lists(st.lists(st.integers(0, 10), max_size=15), max_size=6),
    st.integers(1, 7),
)
def test_a_noisy_judge_gives_the_same_orders_however_many_queries_run_at_once(ranker, queries, live):
    given_ = [candidates(grades, f"query {number}") for number, grades in enumerate(queries)]
    found = dict(lockstep((ranker.steps(each) for each in given_), Noisy(), live=live))
    assert [found[number] for number in range(len(queries))] == [rank(ranker, each, Noisy()) for each in given_]


def test_pointwise_scores_are_log_odds():
    order = rank(Pointwise(), candidates([5, 9, 1]), Perfect())
    assert order.indices == (1, 0, 2)
    assert order.scores == pytest.approx((8, 0, -8))
    assert [question.task for question in _asked(Pointwise())] == ["judge"] * 3


def test_a_passage_whose_answer_is_unusable_goes_behind_without_a_made_up_score():
    class Mute(Perfect):
        def read(self, task, grades):
            return [] if grades == [9] else super().read(task, grades)

    for ranker in (Pointwise(), Graded(), Graded(rule="tfrank")):
        order = rank(ranker, candidates([5, 9, 1, 9]), Mute())
        assert order.indices == (0, 2, 1, 3)
        assert order.marks == ("judged", "judged", "placed", "placed")
        assert order.counts.failed == (4 if ranker == Graded(rule="tfrank") else 2)


def test_rules_of_grades():
    labels = [0.1, 0.1, 0.1, 0.2, 0.5]  # the expected grade is 2.9 of 4

    class Fixed(Perfect):
        def read(self, task, grades):
            return [math.log(each) for each in (labels if task == "grade-4" else [0.6, 0.2])]  # P(true) is 0.75

    given_ = candidates([1])
    (expected,) = rank(Graded(), given_, Fixed()).scores
    assert 1 / (1 + math.exp(-expected)) == pytest.approx(2.9 / 4)
    assert rank(Graded(rule="tfrank"), given_, Fixed()).scores == pytest.approx([(2.9 / 4 + 0.75) / 2])
    assert rank(Graded(rule="erank"), given_, Fixed()).scores == pytest.approx([4 * 0.5])
    assert {question.task for question in _asked(Graded(rule="tfrank"))} == {"grade-4", "judge"}
    assert {question.task for question in _asked(Graded(highest=10))} == {"grade-10"}


def test_scores_stay_apart_where_probabilities_saturate():
    class Sure(Perfect):
        def read(self, task, grades):
            return normalized([-200 - grades[0], *[-300] * 3, 0])

    assert rank(Graded(), candidates([1, 3, 2]), Sure()).indices == (1, 2, 0)


@FEW
@given(GROUPWISE, st.integers(0, 30), st.integers(0, 3))
def test_each_repeat_grades_everything_once_in_shuffled_groups(ranker, count, seed):
    ranker = replace(ranker, seed=seed)
    judge = Perfect()
    rank(ranker, candidates([3] * count), judge)
    for repeat in range(ranker.repeats):
        groups = [question.passages for question in judge.asked if question.sample == repeat]
        assert sorted(text for group in groups for text in group) == sorted(
            candidates([3] * count).texts[: reranked(ranker, [3] * count)]
        )
        assert all(len(group) == ranker.window for group in groups[:-1])


def test_groups_differ_between_repeats_seeds_and_queries():
    def shown(ranker, query):
        judge = Perfect()
        rank(ranker, candidates([3] * 30, query), judge)
        return [question.passages for question in judge.asked]

    first = shown(Groupwise(), "a")
    assert len(set(first)) == 6
    assert first == shown(Groupwise(), "a")
    assert not set(first) & set(shown(Groupwise(seed=1), "a"))
    assert not set(first) & set(shown(Groupwise(), "b"))


def test_grades_are_averaged_and_fused_with_the_first_stage():
    given_ = candidates([10, 0, 5], scores=[30.0, 20.0, 10.0])
    order = rank(Groupwise(), given_, Perfect())
    assert dict(zip(order.indices, order.scores, strict=True)) == pytest.approx({0: 1.0, 2: 0.3, 1: 0.2})
    order = rank(Groupwise(share=1), given_, Perfect())
    assert dict(zip(order.indices, order.scores, strict=True)) == pytest.approx({0: 1.0, 2: 0.5, 1: 0.0})
    order = rank(Groupwise(scale=False), replace(given_, scores=[0.3, 0.9, 0.1]), Perfect())
    assert dict(zip(order.indices, order.scores, strict=True)) == pytest.approx({0: 0.72, 1: 0.36, 2: 0.34})
    order = rank(Groupwise(share=0.6), replace(given_, scores=[2.0] * 3), Perfect())
    assert order.indices == (0, 2, 1)

    class Moody(Perfect):
        def answer(self, question):
            grade = 2 if question.sample else 8
            return replace(super().answer(question), text=json.dumps({"[1]": grade, "[2]": grade, "[3]": grade}))

    assert rank(Groupwise(), candidates([1, 2, 3]), Moody()).scores == pytest.approx((0.5, 0.5, 0.5), abs=1e-4)


def test_passages_that_a_group_leaves_out_keep_the_mean_of_their_other_grades():
    class LeavesOut(Perfect):
        def write(self, task, grades):
            kept = {f"[{place + 1}]": each for place, each in enumerate(grades) if each != 9}
            return json.dumps(kept) if 9 in grades else super().write(task, grades)

    order = rank(Groupwise(window=2, repeats=4), candidates([1, 9, 3, 9]), LeavesOut())
    assert order.indices == (2, 0, 1, 3)
    assert order.marks == ("judged", "judged", "placed", "placed")
    assert order.scores[:2] == pytest.approx((0.3, 0.1))
    assert order.counts.repaired > 0


@FEW
@given(GRADES, st.integers(1, 30))
def test_two_stages(grades, top):
    judge = Perfect()
    ranker = TwoStages(top=top)
    order = rank(ranker, candidates(grades), judge)
    assert list(order.indices) == ideal(grades)
    assert order.counts.questions == len(judge.asked) <= ranker.calls(len(grades))
    assert [question.task for question in judge.asked][: len(grades)] == ["judge"] * len(grades)
    order = rank(ranker, candidates(grades), Nonsense())
    assert list(order.indices) == list(range(len(grades)))
    assert order.counts.failed == order.counts.questions


def test_the_second_stage_reorders_the_top_of_the_first_alone():
    class Contrary(Perfect):
        def write(self, task, grades):
            return super().write(task, [-each for each in grades])

    given_ = candidates([1, 2, 3, 4, 5], vectors=[[1.0]] * 5, scores=[5, 4, 3, 2, 1])
    order = rank(TwoStages(top=3), given_, Contrary())
    assert order.indices == (2, 3, 4, 1, 0)
    assert order.scores == (5, 4, 3, 2, 1)
    ranker = TwoStages(first=First(window=5, stride=2), second=Setwise(by="answer", top=1), top=2)
    assert rank(ranker, given_, Contrary()).indices == (3, 4, 2, 1, 0)
    assert ranker.calls(100) == 49 + 1
    assert TwoStages(second=Listwise(window=4, stride=2)).calls(100) == 109


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pointwise(depth=-1),
        lambda: Graded(highest=5),
        lambda: Graded(rule="peak"),
        lambda: Groupwise(window=0),
        lambda: Groupwise(share=1.5),
        lambda: TwoStages(top=0),
    ],
)
def test_wrong_options_are_refused(make):
    with pytest.raises(InputError):
        make()


def _asked(ranker, grades=(1, 2, 3)):
    judge = Perfect()
    rank(ranker, candidates(grades), judge)
    return judge.asked
