"""``limrank bench compare``: measures of reproducibility, equal to repro_eval's where that is right; and odd runs."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from typer.testing import CliRunner

from limrank_ir.benchmarks.compare.compare import compare_runs
from limrank_ir.benchmarks.compare.measures import (
    PERSISTENCE,
    delta_relative_improvement,
    effect_ratio,
    kendall_tau_union,
    overlap,
    rank_biased_overlap,
    rmse,
)
from limrank_ir.benchmarks.compare.tables import page
from limrank_ir.cli.app import app
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import write_qrels, write_run

RANKINGS = st.integers(2, 12).flatmap(
    lambda depth: st.tuples(*[st.lists(st.integers(0, 15), min_size=depth, max_size=depth, unique=True)] * 2)
)
LISTS = st.lists(st.sampled_from("abcdefgh"), max_size=8, unique=True)
SCORES = st.lists(st.tuples(*[st.floats(0.125, 1)] * 4), min_size=2, max_size=20)


@pytest.fixture(scope="module")
def theirs():
    """repro_eval's modules. Its import of scipy.stats.stats is deprecated."""
    pytest.importorskip("repro_eval", reason="repro-eval is not installed: it comes with limrank-ir[test]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from repro_eval.measure import document_order, effectiveness, overall_effects
    modules = document_order, effectiveness, overall_effects
    return {name: value for module in modules for name, value in vars(module).items()}


def scored(docnos):
    return {docno: float(-place) for place, docno in enumerate(docnos)}


@given(RANKINGS)
@settings(max_examples=60, deadline=None)
def test_tau_union_is_repro_evals_where_names_sort_like_the_union(theirs, rankings):
    union = list(dict.fromkeys([*rankings[0], *rankings[1]]))
    one, other = ([f"d{union.index(docno):03}" for docno in ranking] for ranking in rankings)
    found = kendall_tau_union(one, other)
    if not set(one) & set(other):
        assert found is None
    else:
        assert found == pytest.approx(theirs["KTU"]({"q": scored(one)}, {"q": scored(other)}), abs=1e-12)


@given(RANKINGS, st.permutations(range(16)))
@settings(max_examples=60, deadline=None)
def test_tau_union_does_not_depend_on_the_documents_names(rankings, names):
    one, other = ([f"d{docno}" for docno in ranking] for ranking in rankings)
    renamed = ([f"d{names[docno]}" for docno in ranking] for ranking in rankings)
    assert kendall_tau_union(one, other) == kendall_tau_union(*renamed)


def test_repro_evals_tau_union_does(theirs):
    """Why it is not used. If this fails, it can be."""
    ab = theirs["KTU"]({"q": scored("bca")}, {"q": scored("bac")})
    renamed = theirs["KTU"]({"q": scored("abc")}, {"q": scored("acb")})
    assert ab != pytest.approx(renamed)
    with pytest.raises(ValueError):
        theirs["KTU"]({"q": scored("abc")}, {"q": scored("ab")})


@given(st.permutations("abcdefgh"), st.permutations("abcdefgh"))
@settings(max_examples=40, deadline=None)
def test_tau_union_of_two_orders_of_the_same_documents_is_kendalls_tau(one, other):
    expected = kendalltau([one.index(docno) for docno in "abcdefgh"], [other.index(docno) for docno in "abcdefgh"])
    assert kendall_tau_union(one, other) == pytest.approx(expected.statistic)
    assert kendall_tau_union(one, one) == 1 and kendall_tau_union(one, one[::-1]) == -1


def test_tau_union_of_odd_rankings():
    assert kendall_tau_union(["a"], ["a"]) is None
    assert kendall_tau_union(["a", "b"], []) is None
    assert kendall_tau_union(["a", "b"], ["c", "d"]) is None
    assert kendall_tau_union(["a", "b", "c"], ["b", "a"]) == -1  # the places that both have
    assert kendall_tau_union(["a", "b", "c", "d"], ["b", "e", "c", "f"]) == pytest.approx(2 / 3)


@given(LISTS, LISTS)
@settings(max_examples=60, deadline=None)
def test_rank_biased_overlap_is_repro_evals_to_the_depth_of_the_longer_ranking(theirs, one, other):
    found = rank_biased_overlap(one, other)
    assert 0 <= found <= 1 and found == rank_biased_overlap(other, one)
    if depth := max(len(one), len(other)):
        arguments = {"p": PERSISTENCE, "depth": depth, "pbar": False, "per_topic": True}
        expected = theirs["RBO"]({"q": scored(one)}, {"q": scored(other)}, **arguments)["q"]
        assert found == pytest.approx(expected, abs=1e-12)
    assert (found == 1) == (one == other and one != []) and (found == 0) == (not set(one) & set(other))
    assert overlap(one, other) == len({*one} & {*other}) / max(1, depth)


@given(SCORES)
@settings(max_examples=60, deadline=None)
def test_errors_and_effects_are_repro_evals(theirs, rows):
    baseline, advanced, baseline_again, again = (list(column) for column in zip(*rows, strict=True))

    def table(values):
        return {f"q{number}": {"m": value} for number, value in enumerate(values)}

    assert rmse(advanced, again) == pytest.approx(theirs["RMSE"](table(advanced), table(again))["m"], abs=1e-12)
    runs = [table(advanced), table(baseline), table(again), table(baseline_again)]
    columns = baseline, advanced, baseline_again, again
    assert delta_relative_improvement(*columns) == pytest.approx(theirs["DRI"](*runs)["m"], abs=1e-9)
    if (ratio := effect_ratio(*columns)) is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ratio == pytest.approx(theirs["ER"](*runs)["m"], rel=1e-6, abs=1e-9)


def test_effects_that_are_undefined_have_no_value():
    assert effect_ratio([0.5, 0.3], [0.3, 0.5], [0.1, 0.1], [0.2, 0.2]) is None
    assert delta_relative_improvement([0.0], [0.5], [0.1], [0.2]) is None


# runs


QRELS = {"q1": {"a": 1, "b": 0}, "q2": {"a": 2, "c": 1}, "q3": {"x": -1}, "q4": {"a": 1}}
ONE = {"q1": "abc", "q2": "cab", "q3": "abc", "q5": "abc"}
OTHER = {"q1": "bac", "q2": "cab", "q5": "abc", "q3": "abc", "q4": "a"}


@pytest.fixture
def files(tmp_path):
    def written(name, run):
        write_run(tmp_path / name, {qid: scored(docnos).items() for qid, docnos in run.items()}, tag=name)
        return tmp_path / name

    write_qrels(tmp_path / "qrels", QRELS)
    return written


def bench(*arguments):
    return CliRunner().invoke(app, ["bench", "compare", *map(str, arguments)])


def test_two_runs_over_the_queries_that_both_have(files, tmp_path, caplog):
    found = compare_runs(files("one", ONE), files("other", OTHER), tmp_path / "qrels", measures="RR@10 nDCG@10")
    assert [query.qid for query in found.queries] == ["q1", "q2"]
    assert [query.qid for query in found.largest_differences] == ["q1", "q2"]
    reciprocal = found.measures["RR@10"]
    assert (reciprocal.original, reciprocal.reproduced) == (1.0, 0.75)
    assert reciprocal.rmse == pytest.approx(math.sqrt(0.125))
    assert (reciprocal.difference.wins, reciprocal.difference.ties, reciprocal.difference.losses) == (0, 1, 1)
    assert reciprocal.effect_ratio is None
    assert found.tau == pytest.approx((1 / 3 + 1) / 2) and found.overlap == 1 and found.depths == (3, 3)
    expected = [
        f"{tmp_path}/one: 2 of 4 queries are left out; another run or the qrels do not have them",
        f"{tmp_path}/other: 3 of 5 queries are left out; another run or the qrels do not have them",
        "2 of 4 judged queries are not in all runs and do not count",
    ]
    assert caplog.messages[-3:] == found.left_out == expected


def test_with_baselines_there_are_effects(files, tmp_path):
    runs = files("one", ONE), files("other", OTHER)
    baseline = files("baseline", {"q1": "cba", "q2": "bac", "q7": "a"})
    found = compare_runs(*runs, tmp_path / "qrels", baselines=(baseline, baseline), measures="RR@10")
    values = found.measures["RR@10"]
    # 1/3 and 1/2 with the baseline; 1 and 1 with the original; 1/2 and 1 with the other one
    assert values.effect_ratio == pytest.approx((0.75 - 5 / 12) / (1 - 5 / 12))
    assert values.delta_relative_improvement == pytest.approx((1 - 0.75) / (5 / 12))
    assert "| ER | DRI |" in page(found, {})


def test_a_run_and_itself(files, tmp_path):
    one = files("one", ONE)
    found = compare_runs(one, one, tmp_path / "qrels")
    assert found.tau == found.rbo == found.overlap == 1
    values = found.measures["nDCG@10"]
    assert values.rmse == 0 and values.difference.p == 1


def test_one_query_has_no_p_value_and_one_document_no_tau(files, tmp_path):
    found = compare_runs(files("one", {"q1": "a"}), files("other", {"q1": "abc"}), tmp_path / "qrels")
    assert found.measures["nDCG@10"].difference.p is None and found.tau is None and 0 < found.rbo < 1
    text = page(found, {})
    assert "| Kendall's tau union | ? |" in text and "| queries without a tau | 1 |" in text


def test_ties_are_ordered_like_in_trec_eval_and_counted(tmp_path, files):
    files("other", {"q1": "cba"})
    write_run(tmp_path / "tied", {"q1": [("a", 1.0), ("b", 1.0), ("c", 1.0 + 1e-12), ("d", 0.0)]}, tag="t")
    found = compare_runs(tmp_path / "tied", tmp_path / "other", tmp_path / "qrels")
    assert found.tied == (3, 0) and found.tau == 1


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"q1": "ab"}, {"q2": "ab"}, r"one and .*other share no query \('q1', 'q2'\); give two runs of the same top"),
        ({"q1": "ab"}, {"q1": "cd"}, r"share no document of a query \('a', 'c'\); give two runs over the same corpus"),
        ({"q5": "ab"}, {"q5": "ab"}, r"qrels: none of the 1 queries of both runs is judged; check the judgments"),
        ({"q3": "ab"}, {"q3": "ab"}, r"qrels: none of the 1 queries of both runs is judged"),  # only excluded
    ],
)
def test_runs_that_cannot_be_compared(files, tmp_path, one, other, expected):
    with pytest.raises(InputError, match=expected):
        compare_runs(files("one", one), files("other", other), tmp_path / "qrels")


def test_baselines_of_other_topics(files, tmp_path):
    runs = files("one", ONE), files("other", OTHER)
    baselines = files("b1", {"q1": "a"}), files("b2", {"q2": "a"})
    with pytest.raises(InputError, match="share no judged query; give baselines of the same topics"):
        compare_runs(*runs, tmp_path / "qrels", baselines=baselines)


def test_the_command_prints_tables_and_writes_a_folder(files, tmp_path):
    runs = files("one", ONE), files("other", OTHER)
    arguments = (*runs, "--qrels", tmp_path / "qrels", "-m", "RR@10", "-o", tmp_path / "out")
    done = bench(*arguments)
    assert done.exit_code == 0, done.output
    assert "Kendall's tau union\t0.6667" in done.stdout
    assert "RR@10\t1.0000\t0.7500\t-0.2500" in done.stdout
    assert "q1\t1.0000\t0.5000\t-0.5000\t0.3333" in done.stdout
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["means"]["tau"] == pytest.approx(2 / 3) and len(results["queries"]) == 2
    assert "| RR@10 | 1.0000 | 0.7500 |" in (tmp_path / "out" / "results.md").read_text()
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["data"].keys() == {str(path) for path in (*runs, tmp_path / "qrels")}
    printed = json.loads(bench(*arguments, "--json").stdout)
    assert printed == results
    other = bench(runs[1], runs[0], *arguments[2:])
    assert other.exit_code == 2 and "its results were made with A" in other.stderr


def test_half_a_pair_of_baselines_is_an_error(files, tmp_path):
    one = files("one", ONE)
    done = bench(one, one, "--qrels", tmp_path / "qrels", "--baseline-a", one)
    assert done.exit_code == 2 and done.stderr == "limrank: effects need both baselines; give --baseline-b, too\n"
    assert not Path(tmp_path / "out").exists()
