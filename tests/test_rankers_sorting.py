"""Rankers that ask for orders: a perfect judge gives the ideal top, within the published number of questions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.errors import InputError
from limrank_ir.rankers.asking import Attend, Read, Write
from limrank_ir.rankers.first import First
from limrank_ir.rankers.icr import Icr
from limrank_ir.rankers.listwise import Listwise
from limrank_ir.rankers.setwise import Setwise

from .judges import Nonsense, Perfect, candidates, ideal, rank

FEW = settings(max_examples=60, deadline=None)
# Of 11 grades, so that ties are likely, or all different.
GRADES = st.lists(st.integers(0, 10), max_size=45) | st.integers(0, 60).flatmap(
    lambda count: st.permutations([10 * number / 61 for number in range(count)])
)
SETWISE = st.builds(
    Setwise,
    top=st.integers(1, 12),
    window=st.integers(3, 12),
    sort=st.sampled_from(["heap", "bubble"]),
    by=st.sampled_from(["labels", "answer"]),
    depth=st.none() | st.integers(0, 30),
    repeats=st.integers(1, 2),
)
SLIDING = st.sampled_from([Listwise, First, Icr]).flatmap(
    lambda kind: st.integers(2, 12).flatmap(
        lambda window: st.builds(
            kind,
            window=st.just(window),
            stride=st.integers(1, window - 1),
            repeats=st.integers(1, 4),
            depth=st.none() | st.integers(0, 30),
        )
    )
)


def reranked(ranker, grades):
    return len(grades) if ranker.depth is None else min(ranker.depth, len(grades))


@FEW
@given(SETWISE, GRADES)
def test_setwise_gives_the_ideal_top_and_leaves_the_rest(ranker, grades):
    judge = Perfect()
    order = rank(ranker, candidates(grades), judge)
    depth = reranked(ranker, grades)
    best = ideal(grades[:depth])[: ranker.top]
    if ranker.repeats > 1 and ranker.by == "answer":  # in shuffled sets a vote may go to the other one of a tie
        assert [grades[index] for index in order.indices[: len(best)]] == [grades[index] for index in best]
    else:
        assert list(order.indices) == [*best, *(index for index in range(len(grades)) if index not in best)]
    assert order.counts.questions == len(judge.asked) <= ranker.calls(len(grades))
    assert order.counts.tokens == sum(7 * len(question.passages) for question in judge.asked)
    assert order.counts.failed == order.counts.repaired == 0
    assert all(2 <= len(question.passages) <= ranker.window for question in judge.asked)
    kind, samples = (Read, {0}) if ranker.by == "labels" else (Write, set(range(ranker.repeats)))
    assert all(isinstance(question, kind) and question.task == "best" for question in judge.asked)
    assert {question.sample for question in judge.asked} <= samples


@FEW
@given(SLIDING, GRADES)
def test_sliding_windows_give_as_much_of_the_ideal_top_as_neighbors_share_in_each_pass(ranker, grades):
    judge = Perfect()
    order = rank(ranker, candidates(grades), judge)
    depth = reranked(ranker, grades)
    sure = depth if depth <= ranker.window else min(depth, ranker.repeats * (ranker.window - ranker.stride))
    assert list(order.indices[:sure]) == ideal(grades[:depth])[:sure]
    assert list(order.indices[depth:]) == list(range(depth, len(grades)))
    assert order.counts.questions == len(judge.asked) <= ranker.calls(len(grades))
    kind, task = {Listwise: (Write, "order"), First: (Read, "order"), Icr: (Attend, "attention")}[type(ranker)]
    assert all(isinstance(question, kind) and question.task == task for question in judge.asked)
    assert all(2 <= len(question.passages) <= ranker.window for question in judge.asked)


def test_one_pass_guarantees_no_more_than_what_neighbors_share():
    # The two best carry the two places that windows share; the third best is left behind on its way up.
    grades = [0, 0, 1, 1, 1, 1, 7, 8, 9, 10]
    ranker = Listwise(window=4, stride=2)
    order = rank(ranker, candidates(grades), Perfect())
    assert [grades[index] for index in order.indices[:3]] == [10, 9, 0]
    order = rank(replace(ranker, repeats=2), candidates(grades), Perfect())
    assert [grades[index] for index in order.indices[:4]] == [10, 9, 8, 7]


@pytest.mark.parametrize("count", [21, 25, 29, 30, 31, 95, 100])
def test_the_uppermost_window_is_not_skipped_where_strides_do_not_divide(count):
    judge = Perfect()
    order = rank(Listwise(), candidates([0] * (count - 1) + [1]), judge)
    assert order.indices[0] == count - 1
    assert judge.asked[-1].passages[0] == "passage 0 of grade 0"
    assert len(judge.asked) == Listwise().calls(count) == 1 + math.ceil((count - 20) / 10)


def test_published_numbers_of_questions_for_100_candidates():
    # Table 2 of arXiv 2310.09497 (3 passages a set, the best 10 of 100): 125.4 and 460.5 on average; 245 = 5 * 49.
    assert Setwise(window=3).calls(100) == 151
    assert Setwise(window=3, sort="bubble").calls(100) == 475
    assert Listwise(window=4, stride=2, repeats=5).calls(100) == 245
    assert Listwise(window=4, repeats=5).calls(100) == 245 and Listwise(window=3).step == 1  # half a window
    assert Listwise().calls(100) == 9
    grades = [number * 37 % 100 / 10 for number in range(100)]
    heap = rank(Setwise(window=3), candidates(grades), Perfect())
    bubble = rank(Setwise(window=3, sort="bubble"), candidates(grades), Perfect())
    assert heap.indices == bubble.indices
    assert 100 < heap.counts.questions <= 151
    assert bubble.counts.questions <= 475


@FEW
@given(SETWISE | SLIDING, st.integers(0, 40), st.sampled_from([0, 5]))
def test_equal_passages_keep_their_order(ranker, count, grade):
    given_ = candidates([grade] * count)
    if isinstance(ranker, Setwise):
        ranker = replace(ranker, repeats=1)
    assert list(rank(ranker, given_, Perfect()).indices) == list(range(count))
    same = replace(given_, texts=["passage of grade 3"] * count)
    judge = Perfect()
    assert list(rank(ranker, same, judge).indices) == list(range(count))
    assert reranked(ranker, same.texts) < 2 or judge.asked  # equal texts are asked about


@FEW
@given(SETWISE | SLIDING, st.integers(0, 40))
def test_nonsense_changes_nothing_and_ends(ranker, count):
    judge = Nonsense()
    order = rank(ranker, candidates([number % 11 for number in range(count)]), judge)
    assert list(order.indices) == list(range(count))
    assert order.counts.questions == order.counts.failed == len(judge.asked) <= ranker.calls(count)
    assert order.counts.tokens == 3 * len(judge.asked)


def test_a_window_that_failed_keeps_its_order_and_the_others_go_on():
    class FailsOnce(Perfect):
        def answer(self, question):
            answer = super().answer(question)
            return replace(answer, text="sorry") if len(self.batches) == 1 else answer

    grades = [1, 2, 3, 4, 5, 6]
    order = rank(Listwise(window=4, stride=2), candidates(grades), FailsOnce())
    assert order.indices == (3, 2, 1, 0, 4, 5)
    assert (order.counts.questions, order.counts.failed) == (2, 1)


def test_repaired_answers_are_counted():
    class Forgetful(Perfect):
        def write(self, task, grades):
            return " > ".join(super().write(task, grades).split(" > ")[:1] * 2)

    order = rank(Listwise(window=4, stride=2), candidates([1, 2, 3, 4]), Forgetful())
    assert order.indices == (3, 0, 1, 2)
    assert (order.counts.repaired, order.counts.repairs, order.counts.failed) == (1, 4, 0)


def test_ties_in_a_written_order_are_stable():
    class AllTied(Perfect):
        def write(self, task, grades):
            return super().write(task, grades).replace(">", "=")

    assert rank(Listwise(window=4, stride=2), candidates([1, 2, 3, 4, 5]), AllTied()).indices == (0, 1, 2, 3, 4)


def test_a_set_is_asked_about_once_and_a_pass_without_a_change_is_the_last():
    judge = Perfect()
    rank(Setwise(sort="bubble", top=10, window=3), candidates(range(30, 0, -1)), judge)
    assert len(judge.asked) == len(set(judge.asked))
    assert len(judge.asked) < Setwise(sort="bubble", window=3).calls(30)
    judge = Perfect()
    rank(Listwise(repeats=5), candidates([10 - number / 10 for number in range(40)]), judge)
    assert len(judge.asked) == Listwise().calls(40)


def test_a_heap_is_built_in_batches():
    judge = Perfect()
    rank(Setwise(window=4, top=1), candidates(range(100, 0, -1)), judge)
    assert [len(batch) for batch in judge.batches] == [20, 9, 3, 1]  # nodes with children, level by level


def test_repeats_of_setwise_are_votes_over_shuffled_sets():
    class PrefersTheFirst(Perfect):
        def write(self, task, grades):
            return "[1]"

    judge = PrefersTheFirst()
    ranker = Setwise(window=5, top=1, by="answer", repeats=50)
    rank(ranker, candidates([1, 2, 3, 4, 5]), judge)
    assert judge.asked[0].passages[0].startswith("passage 0 ")
    assert len({question.passages for question in judge.asked}) > 20
    other = PrefersTheFirst()
    rank(replace(ranker, seed=1), candidates([1, 2, 3, 4, 5]), other)
    assert [q.passages for q in other.asked] != [q.passages for q in judge.asked]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Setwise(window=2),
        lambda: Setwise(window=1, sort="bubble"),
        lambda: Setwise(top=0),
        lambda: Setwise(sort="quick"),
        lambda: Setwise(by="vote"),
        lambda: Setwise(repeats=True),
        lambda: Listwise(window=1),
        lambda: Listwise(window=10, stride=10),
        lambda: Listwise(stride=0),
        lambda: Listwise(repeats=0),
        lambda: Listwise(depth=-1),
        lambda: Listwise(window=4.0, stride=2),
        lambda: First(task="judge"),
        lambda: First(window=3, stride=5),
    ],
)
def test_wrong_options_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_first_with_the_question_for_the_best():
    judge = Perfect()
    order = rank(First(task="best", window=4, stride=2), candidates([1, 2, 3, 4]), judge)
    assert order.indices == (3, 2, 1, 0)
    assert [question.task for question in judge.asked] == ["best"]
