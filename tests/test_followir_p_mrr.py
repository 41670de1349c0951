"""p-MRR is mteb's, on random and on adversarial rankings."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.benchmarks.followir.p_mrr import InstructionPair, p_mrr
from limrank_ir.errors import InputError

mteb = pytest.importorskip("mteb._evaluators.retrieval_metrics", reason="mteb is not installed")

DOCNOS = [f"d{number}" for number in range(12)] + ["D1", "d", "", "ü"]
SCORES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-12, -1e300]), st.floats(allow_nan=False, width=32))
RANKING = st.dictionaries(st.sampled_from(DOCNOS), SCORES, max_size=10)
CHANGED = st.lists(st.sampled_from(DOCNOS), max_size=6, unique=True)


def both(rankings, changed):
    """(ours, mteb's) on the same input: base query to (original ranking, changed ranking), and to its changed set."""
    pairs = [InstructionPair(name, f"{name}-og", f"{name}-changed", tuple(found)) for name, found in changed.items()]
    original = {f"{name}-og": before for name, (before, _) in rankings.items()}
    after = {f"{name}-changed": now for name, (_, now) in rankings.items()}
    return p_mrr(pairs, {**original, **after}), mteb.calculate_pmrr(original, after, changed)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("123"), st.tuples(RANKING, RANKING, CHANGED), min_size=1))
def test_it_equals_mtebs_on_random_rankings_with_ties_and_missing_documents(queries):
    rankings = {name: (before, after) for name, (before, after, _) in queries.items()}
    changed = {name: found for name, (_, _, found) in queries.items()}
    if not any(changed.values()):
        assert p_mrr([InstructionPair("1", "o", "c", ())], {"o": {}, "c": {}}).mean is None  # mteb's raises
        return
    ours, theirs = both(rankings, changed)
    assert ours.mean == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1, 2, 0.5),
        (2, 1, -0.5),
        (5, 100, 0.95),
        (7, 7, 0.0),
        (100, 5, -0.95),
    ],
)
def test_published_check_values(before, after, expected):
    def ranking(place):
        return {"x" if rank == place else f"d{rank}": -float(rank) for rank in range(1, 101)}

    ours, theirs = both({"1": (ranking(before), ranking(after))}, {"1": ["x"]})
    assert ours.mean == pytest.approx(expected) and theirs == pytest.approx(expected)


def test_ties_go_to_the_higher_docno_and_not_to_the_order_of_the_dict():
    tied = {"b": 1.0, "a": 1.0, "c": 1.0}
    ours, theirs = both({"1": (tied, dict(reversed(tied.items())))}, {"1": ["a", "b"]})
    assert ours.mean == theirs == 0.0
    ours, theirs = both({"1": (tied, {"a": 2.0, "b": 1.0, "c": 1.0})}, {"1": ["a"]})
    assert ours.mean == pytest.approx(theirs) == pytest.approx(-2 / 3)


def test_scores_that_only_float32_makes_equal_are_not_tied():
    close = {"a": 1.0 + 1e-9, "b": 1.0}
    ours, theirs = both({"1": (close, {"a": 0.0, "b": 1.0})}, {"1": ["a"]})
    assert ours.mean == pytest.approx(theirs) == pytest.approx(0.5)


def test_a_shallow_ranking_hides_changed_documents():
    deep = {f"d{rank:04}": -float(rank) for rank in range(1000)}
    moved = {**deep, "d0500": 1.0, "d0003": -2000.0}
    changed = {"1": ["d0500", "d0003", "d0700"]}
    full, theirs = both({"1": (deep, moved)}, changed)
    assert full.mean == pytest.approx(theirs) and full.outside == 0
    first = list(deep)[:10]
    cut, theirs = both({"1": tuple({docno: run[docno] for docno in first} for run in (deep, moved))}, changed)
    assert cut.mean == pytest.approx(theirs) == pytest.approx((1 - 4 / 10) / 3)
    assert (cut.documents, cut.outside) == (3, 2)


def test_empty_rankings_and_a_document_in_one_of_them():
    ours, theirs = both({"1": ({}, {}), "2": ({}, {"a": 1.0, "b": 0.0})}, {"1": ["a"], "2": ["b", "z"]})
    assert ours.mean == pytest.approx(theirs)
    assert ours.per_query == pytest.approx({"1": 0.0, "2": (0.5 + 1 - 1 / 3) / 2})
    assert ours.outside == 2


def test_a_query_without_ranking_does_not_count_and_is_noted(caplog):
    pairs = [InstructionPair(name, f"{name}-og", f"{name}-changed", ("a",)) for name in "12"]
    scores = {"1-og": {"a": 1.0}, "1-changed": {"a": 1.0}, "2-og": {"a": 1.0}}
    with caplog.at_level("WARNING", logger="limrank_ir"):
        found = p_mrr(pairs, scores)
    assert found.per_query == {"1": 0.0}
    assert "1 of 2 queries have no ranking ('2')" in caplog.text


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(InputError, match="query 'o', document 'a': the score is not a number"):
        p_mrr([InstructionPair("1", "o", "c", ("a",))], {"o": {"a": math.nan}, "c": {"a": 0.0}})
