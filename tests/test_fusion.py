"""Fusion: what it does not depend on, its extremes, and what it refuses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir import LimRankError, fuse
from limrank_ir.formats.trec import read_run
from limrank_ir.models import MODELS
from limrank_ir.ranking.fusion import checked_scores, fuse_runs, fusion_weights

from .command_line import limrank, refused

# Tenths, so that no two different scores are close enough for rounding to make them equal.
SCORE = st.integers(-1000, 1000).map(lambda tenths: tenths / 10)
WEIGHT = st.floats(0.01, 1)
FEW = settings(max_examples=40, deadline=None)
NAMES = ("bm25", "minilm", "limrank", "other")


@st.composite
def columns(draw, least=1):
    """Scores of one to four systems for the same candidates, and their weights."""
    names = NAMES[: draw(st.integers(least, 4))]
    count = draw(st.integers(0, 20))
    scores = {name: np.array(draw(st.lists(SCORE, min_size=count, max_size=count))) for name in names}
    return scores, {name: draw(WEIGHT) for name in names}


def order(scores):
    return np.argsort(-np.asarray(scores), kind="stable").tolist()


@FEW
@given(columns(), st.floats(0.01, 100), st.floats(-100, 100))
def test_scale_and_offset_of_scores_and_the_scale_of_weights_do_not_matter(given_, factor, shift):
    scores, weights = given_
    expected = fuse(scores, weights)
    name = next(iter(scores))
    assert fuse({**scores, name: factor * scores[name] + shift}, weights) == pytest.approx(expected, abs=1e-6)
    assert fuse(scores, {name: factor * weight for name, weight in weights.items()}) == pytest.approx(expected)


@FEW
@given(columns())
def test_one_score_alone_or_with_weight_0_beside_it_keeps_its_order(given_):
    scores, weights = given_
    name = next(iter(scores))
    alone = fuse({name: scores[name]})
    assert order(alone) == order(scores[name])
    assert fuse(scores, {**dict.fromkeys(weights, 0), name: 0.3}) == pytest.approx(alone)


@FEW
@given(columns(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_and_of_systems_does_not_matter(given_, random):
    scores, weights = given_
    count = len(scores["bm25"])
    places = random.sample(range(count), count)
    expected = fuse(scores, weights)
    assert fuse({name: found[places] for name, found in scores.items()}, weights) == pytest.approx(expected[places])
    assert fuse(dict(reversed(scores.items())), weights) == pytest.approx(expected)


@FEW
@given(columns(least=2))
def test_better_in_all_is_better_and_equal_scores_have_no_effect(given_):
    scores, weights = given_
    fused = fuse(scores, weights)
    stacked = np.stack(list(scores.values()))
    assert (fused[:, None] > fused[None, :])[(stacked[:, :, None] > stacked[:, None, :]).all(axis=0)].all()
    without = {name: found for name, found in scores.items() if name != "minilm"}
    constant = {**scores, "minilm": np.full(len(fused), 0.1)}  # the standard deviation of which in NumPy is not 0
    share = 1 - weights["minilm"] / sum(weights.values())
    expected = share * fuse(without, {name: weights[name] for name in without})
    assert fuse(constant, weights) == pytest.approx(expected)


@FEW
@given(columns(least=2), st.floats(0, 1))
def test_two_scores_are_fused_as_before(given_, weight):
    first, odds = list(given_[0].values())[:2]
    z = [np.zeros(len(x)) if len(set(x)) < 2 else (x - x.mean()) / x.std() for x in (first, odds)]
    fused = fuse({"first_stage": first, "limrank": odds}, fusion_weights(weight, ["first_stage"], MODELS["limrank-7b"]))
    assert fused == pytest.approx((1 - weight) * z[0] + weight * z[1], abs=1e-9)


def test_the_rule_by_hand():
    scores = {"limrank": [1.0, 2.0, 6.0], "bm25": [30.0, 10.0, 20.0], "minilm": [0.5, 0.5, 0.8]}
    z = {
        "limrank": np.array([-2.0, -1.0, 3.0]) / math.sqrt(14 / 3),
        "bm25": np.array([10.0, -10.0, 0.0]) / math.sqrt(200 / 3),
        "minilm": np.array([-1.0, -1.0, 2.0]) / math.sqrt(2),
    }
    fused = fuse(scores, {"limrank": 2, "bm25": 1, "minilm": 1})
    assert fused.dtype == np.float64
    assert fused == pytest.approx(0.5 * z["limrank"] + 0.25 * z["bm25"] + 0.25 * z["minilm"], abs=1e-12)
    assert fuse(scores) == pytest.approx(sum(z.values()) / 3, abs=1e-12)


def test_no_candidates_and_one_candidate():
    assert fuse({"a": [], "b": []}).shape == (0,)
    assert fuse({"a": [3.0], "b": [-7.0]}).tolist() == [0.0]


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e200, 1e308])
def test_scores_of_any_size_are_finite_and_in_order(size):
    assert fuse({"a": [size, -size, 0.0]}) == pytest.approx([math.sqrt(1.5), -math.sqrt(1.5), 0.0])


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [
        ({"a": [1.0, 2.0], "b": [1.0]}, None, "b: 1 scores for 2 candidates; give one for each"),
        ({"a": [1.0, 2.0], "b": [1.0, math.nan]}, None, "b: number 1 is nan; remove"),
        ({"a": [1.0, 2.0], "b": [-math.inf, 1.0]}, None, "b: number 0 is -inf; remove"),
        ({"a": [1.0, 2.0], "b": [None, 1.0]}, None, "b: number 0 is nan"),
        ({"a": [1.0, 2.0], "b": ["high", "low"]}, None, "b: not numbers"),
        ({"a": [1.0, 2.0], "b": [[1.0, 2.0]]}, None, r"b: an array of shape \(1, 2\)"),
        ({}, None, "there is nothing to fuse"),
        ({"a": [1.0]}, {"a": 1, "b": 1}, "a fusion weight for 'b', of which there are no scores; there are 'a'"),
        ({"a": [1.0], "b": [1.0]}, {"a": 1}, r"no fusion weight for 'b'; give one \(0 to leave it out\)"),
        ({"a": [1.0]}, {"a": -0.01}, "the fusion weight of 'a' is -0.01; give a number, at least 0"),
        ({"a": [1.0]}, {"a": math.nan}, "the fusion weight of 'a' is nan"),
        ({"a": [1.0]}, {"a": "0.5"}, "the fusion weight of 'a' is '0.5'"),
        ({"a": [1.0]}, {"a": 0}, "all fusion weights are 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(scores, weights, message):
    with pytest.raises(LimRankError, match=message) as caught:
        fuse(scores, weights)
    assert "\n" not in str(caught.value)


def test_the_option_is_true_false_a_weight_or_weights_by_name():
    model = MODELS["limrank-7b"]

    def shares(option, *others):
        found = fusion_weights(option, others, model)
        return found if found is None else pytest.approx(found)

    options = (True, np.True_, 0.25, np.float32(0.25), 0, 1)
    assert [shares(option, "bm25") for option in options] == [
        {"bm25": 1 - weight, "limrank": weight} for weight in (0.8, 0.8, 0.25, 0.25, 0.0, 1.0)
    ]
    assert shares(False, "bm25") is None
    assert shares(True, "a", "b") == dict(zip(("a", "b", "limrank"), model.fuse_three, strict=True))
    assert shares(True, "a", "b", "c") == dict.fromkeys(("a", "b", "c", "limrank"), 0.25)
    assert shares(0.5, "a", "b") == {"a": 0.25, "b": 0.25, "limrank": 0.5}
    assert shares({"limrank": 3, "a": 1}, "a") == {"a": 0.25, "limrank": 0.75}
    for option, message in (
        (2, "the fusion weight is 2; give a number from 0"),
        (-0.1, r"the fusion weight is -0\.1"),
        ("0.5", "the fusion weight is '0.5'"),
        (None, "the fusion weight is None"),
        ({"a": 1}, "no fusion weight for 'limrank'"),
    ):
        with pytest.raises(LimRankError, match=message):
            fusion_weights(option, ["a"], model)
    with pytest.raises(LimRankError, match="'limrank' is the name of the model's own scores"):
        fusion_weights(True, ["limrank"], model)


def test_inputs_are_not_changed():
    first = np.array([3, 1, 2])
    assert checked_scores("first", first, 3).dtype == np.float64
    fuse({"a": [1, 2, 3], "b": first})
    assert first.tolist() == [3, 1, 2] and first.dtype == np.int64


# Runs

BM25 = {"q1": {"a": 9.0, "b": 5.0, "c": 1.0}, "q2": {"x": 2.0, "y": 1.0}}
DENSE = {"q1": {"c": 0.9, "a": 0.6, "d": 0.3}, "q3": {"z": 0.5}}


def test_a_document_that_a_run_lacks_has_its_lowest_score_and_a_query_that_it_lacks_is_left_to_the_others():
    found = fuse_runs({"bm25": BM25, "dense": DENSE})
    expected = fuse({"bm25": [9.0, 5.0, 1.0, 1.0], "dense": [0.6, 0.3, 0.9, 0.3]})
    assert dict(found.run["q1"]) == pytest.approx(dict(zip("abcd", expected, strict=True)))
    assert [docno for docno, _ in found.run["q2"]] == ["x", "y"] and found.run["q3"] == [("z", 0.0)]
    bm25 = found.coverage["bm25"]
    assert (bm25.queries, bm25.absent, bm25.documents, bm25.missing) == (3, ["q3"], 6, 1)
    assert found.weights == {"bm25": 0.5, "dense": 0.5}
    assert [len(documents) for documents in fuse_runs({"a": BM25, "b": DENSE}, k=1).run.values()] == [1, 1, 1]


def test_reciprocal_ranks_by_hand_with_ties_in_trec_evals_order():
    # As in Cormack et al. and ranx, ranks begin at 1; trec_eval puts the higher docno of a tie first.
    runs = {"one": {"q": {"a": 2.0, "b": 2.0}}, "two": {"q": {"a": 0.9, "c": 0.8}}}
    found = dict(fuse_runs(runs, {"one": 1, "two": 3}, method="rrf").run["q"])
    assert found == pytest.approx({"a": 0.25 / 62 + 0.75 / 61, "b": 0.25 / 61, "c": 0.75 / 62})


@FEW
@given(columns())
def test_runs_of_the_same_documents_are_fused_like_columns(given_):
    scores, weights = given_
    docnos = [f"d{place:02}" for place in range(len(scores["bm25"]))]
    runs = {name: {"q": dict(zip(docnos, found.tolist(), strict=True))} for name, found in scores.items()}
    expected = dict(zip(docnos, fuse(scores, weights), strict=True))
    assert dict(fuse_runs(runs, weights).run.get("q", [])) == pytest.approx(expected)


def test_runs_of_other_topics_are_refused():
    with pytest.raises(
        LimRankError, match=r"b: none of its queries \('other'\) is in what it is fused with \('q1', 'q2"
    ):
        fuse_runs({"a": BM25, "c": DENSE, "b": {"other": {"a": 1.0}}})


# limrank fuse


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, run in {"bm25.txt": BM25, "dense.txt": DENSE}.items():
        lines = [f"{qid} Q0 {docno} 1 {score} x\n" for qid, of in run.items() for docno, score in of.items()]
        (tmp_path / name).write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_fuses_runs_and_says_what_they_lack(folder):
    made = limrank("fuse", "bm25.txt", "dense.txt", "-o", "out.txt", "--weights", "3,1", "-k", 2, "--json")
    assert made.exit_code == 0, made.stderr
    expected = fuse_runs({"bm25": BM25, "dense": DENSE}, {"bm25": 3, "dense": 1}, k=2).run
    run = read_run("out.txt")
    assert {qid: [(entry.docno, entry.score) for entry in entries] for qid, entries in run.items()} == expected
    assert {entry.tag for entries in run.values() for entry in entries} == {"fused"}
    assert "dense.txt: lacks 1 of 5 documents, which count as its lowest of the query" in made.stderr
    assert "bm25.txt: lacks 1 of 3 queries ('q3'); it has no say in them" in made.stderr
    assert "5 documents of 3 queries fused by z (bm25.txt 0.75, dense.txt 0.25), written to out.txt" in made.stderr
    summary = json.loads(made.stdout)
    assert summary["weights"] == {"bm25.txt": 0.75, "dense.txt": 0.25}
    assert summary["without_query"] == {"bm25.txt": ["q3"], "dense.txt": ["q2"]}
    made = limrank("fuse", "bm25.txt", "dense.txt", "-o", "-", "--method", "rrf", "--tag", "both", "-q")
    assert (made.exit_code, made.stderr) == (0, "") and made.stdout.startswith("q1 Q0 a 1 ") and "both" in made.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bm25.txt"], "bm25.txt: one run alone is not fused with anything"),
        (["bm25.txt", "bm25.txt"], "bm25.txt: given twice; to count it more, use --weights"),
        (
            ["bm25.txt", "dense.txt", "--weights", "1,2,3"],
            "--weights 1,2,3: 3 weights for 2 scores; give those of bm25",
        ),
        (["bm25.txt", "dense.txt", "--weights", "1;2"], "--weights 1;2: not numbers separated by commas"),
        (["bm25.txt", "dense.txt", "--weights=1,-1"], "the fusion weight of 'dense.txt' is -1.0"),
        (["bm25.txt", "others.txt"], "bm25.txt: none of its queries"),
        (["bm25.txt", "twice.txt"], "twice.txt:2: duplicate document 'a' for query 'q1'"),
        (["bm25.txt", "nan.txt"], "nan.txt:1: score 'nan' is not finite"),
        (["bm25.txt", "nothing.txt"], "nothing.txt: no such file"),
    ],
)
def test_the_command_refuses_what_it_cannot_fuse(folder, arguments, message):
    (folder / "others.txt").write_text("7 Q0 a 1 1 x\n")
    (folder / "twice.txt").write_text("q1 Q0 a 1 1 x\nq1 Q0 a 2 0.5 x\n")
    (folder / "nan.txt").write_text("q1 Q0 a 1 nan x\n")
    refused(limrank("fuse", *arguments, "-o", "out.txt"), message)
