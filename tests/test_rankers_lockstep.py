"""Many queries at once: the same orders as alone, in as few batches as the slowest of them needs."""

from __future__ import annotations

import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.errors import EngineError, InputError
from limrank_ir.rankers.asking import Answer
from limrank_ir.rankers.first import First
from limrank_ir.rankers.icr import Icr
from limrank_ir.rankers.listwise import Listwise
from limrank_ir.rankers.lockstep import lockstep, together
from limrank_ir.rankers.order import Candidates, Counts, ranked, scored
from limrank_ir.rankers.setwise import Setwise

from .judges import Noisy, Perfect, candidates, check, rank

FEW = settings(max_examples=40, deadline=None)
RANKERS = [
    Setwise(),
    Setwise(sort="bubble", by="answer", repeats=3),
    Listwise(window=6, stride=3, repeats=2),
    First(window=5, stride=2),
    Icr(window=7, stride=3),
]


@FEW
@given(st.sampled_from(RANKERS), st.lists(st.lists(st.integers(0, 10), max_size=25), max_size=8), st.integers(1, 9))
def test_a_noisy_judge_gives_the_same_orders_however_many_queries_run_at_once(ranker, queries, live):
    given_ = [candidates(grades, f"query {number}") for number, grades in enumerate(queries)]
    alone = [rank(ranker, each, Noisy()) for each in given_]
    found = dict(lockstep((ranker.steps(each) for each in given_), Noisy(), live=live))
    assert [found[number] for number in range(len(queries))] == alone
    again = dict(lockstep((ranker.steps(each) for each in given_), Noisy(), live=live))
    assert list(again.items()) == list(found.items())


def test_all_pending_questions_are_one_batch():
    judge = Perfect()
    grades = [number % 10 for number in range(100)]
    found = dict(lockstep([Listwise().steps(candidates(grades, f"query {n}")) for n in range(5)], judge))
    assert len(found) == 5
    assert [len(batch) for batch in judge.batches] == [5] * 9
    assert [question.query for question in judge.batches[0]] == [f"query {number}" for number in range(5)]


def test_there_are_no_more_live_queries_than_allowed_and_finished_ones_are_freed():
    made: list[weakref.ref[object]] = []

    def runs():
        for number in range(20):
            run = Listwise().steps(candidates([1] * (2 if number % 3 else 50), f"query {number}"))  # 1 question, or 4
            made.append(weakref.ref(run))
            yield run

    judge = Perfect()
    done = 0
    for _ in lockstep(runs(), judge, live=3):
        assert sum(ref() is not None for ref in made) <= 3
        assert len(made) <= done + 3
        done += 1
    assert done == len(made) == 20
    assert max(len(batch) for batch in judge.batches) == 3
    assert sum(len(batch) == 3 for batch in judge.batches) > 10  # whoever is done makes room for the next one


def test_queries_without_candidates_cost_nothing():
    judge = Perfect()
    runs = (ranker.steps(candidates([1] * count)) for _ in range(10) for count in (0, 1) for ranker in RANKERS)
    found = dict(lockstep(runs, judge, live=2))
    assert len(found) == 20 * len(RANKERS)
    assert not judge.batches
    assert list(lockstep([], judge)) == []


def test_a_wrong_number_of_answers_is_an_error_of_the_machine():
    runs = [Listwise().steps(candidates([1, 2, 3]))]
    with pytest.raises(EngineError, match="1 questions got 2 answers"):
        list(lockstep(runs, lambda questions: [Answer(), Answer()]))
    with pytest.raises(InputError, match="live is 0"):
        lockstep(runs, Perfect(), live=0)


def test_an_error_of_the_judge_closes_what_is_running():
    def broken(questions):
        raise EngineError("no memory")

    run = Listwise().steps(candidates([1, 2, 3]))
    with pytest.raises(EngineError, match="no memory"):
        list(lockstep([run], broken))
    assert run.gi_frame is None


def test_parts_of_one_query_run_together():
    def part(name, times):
        for _ in range(times):
            (answer,) = yield [candidates([1], name).read("judge", [0])]
            assert answer.text == name
        return name

    both = together([part("a", 2), part("b", 0), part("c", 1)])
    batches = []
    try:
        questions = next(both)
        while True:
            batches.append([question.query for question in questions])
            questions = both.send([Answer(text=question.query) for question in questions])
    except StopIteration as stop:
        assert stop.value == ["a", "b", "c"]
    assert batches == [["a", "c"], ["a"]]


@FEW
@given(st.integers(0, 12), st.data())
def test_scores_strictly_decrease_and_say_what_they_are(count, data):
    score = st.sampled_from([0.0, 1.0, 1.0000001, -1e300]) | st.floats(-1e3, 1e3)
    kinds = data.draw(st.lists(st.sampled_from("jep"), min_size=count, max_size=count))
    values = [data.draw(score) for _ in kinds]
    judged = {index: values[index] for index in range(count) if kinds[index] == "j"}
    estimated = {index: values[index] for index in range(count) if kinds[index] == "e"}
    order = scored(count, judged, Counts(), estimated=estimated)
    check(order, count)
    names = {"j": "judged", "e": "estimated", "p": "placed"}
    assert list(order.marks) == [names[kinds[index]] for index in order.indices]
    expected = sorted(
        range(count),
        key=lambda index: (
            kinds[index] == "p",
            -values[index] if kinds[index] != "p" else 0,
            kinds[index] == "e",
            index,
        ),
    )
    assert list(order.indices) == expected


def test_an_order_alone_has_ranks_for_scores():
    order = ranked(4, [2, 0], Counts(3))
    assert (order.indices, order.scores, set(order.marks)) == ((2, 0, 1, 3), (4, 3, 2, 1), {"placed"})
    assert order.counts + Counts(1, 2, 3, 4, 5) == Counts(4, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Candidates("q", "one string"), "one string"),
        (lambda: Candidates("q", ["a", "b"], [1.0]), "1 scores for 2 passages"),
        (lambda: Candidates("q", ["a"], [float("nan")]), "score 0 is nan"),
        (lambda: Candidates("q", ["a"], None, []), "0 vectors for 1 passages"),
    ],
)
def test_wrong_candidates_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def asks_nothing_for(times):
    for _ in range(times):
        assert (yield []) == ()
    (answer,) = yield [candidates([1]).read("judge", [0])]
    assert answer.logprobs
    return ranked(1, [0], Counts())


def test_a_ranker_that_asks_nothing_goes_on_at_once():
    judge = Perfect()
    assert len(list(lockstep([asks_nothing_for(3), asks_nothing_for(0)], judge))) == 2
    assert [len(batch) for batch in judge.batches] == [2]


def test_a_ranker_that_never_asks_anything_is_an_error_that_names_it():
    with pytest.raises(
        InputError, match="asks_nothing_for asks no questions, 1000 times in a row; a ranker that is done"
    ):
        list(lockstep([asks_nothing_for(5000)], Perfect()))
