"""Rows with nothing to learn are an error before anything loads; useless groups are counted."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from limrank_ir import InputError
from limrank_ir.cli.app import app
from limrank_ir.train.cross_encoder import _row
from limrank_ir.train.learnable import check_learnable
from limrank_ir.train.rows import Candidate, Group
from tests import tiny
from tests.training import write_config, write_rows

NAMES = ("contrastive", "distill", "binary", "verdict", "graded")


def group(*labels, grades=None, reasoning=None):
    candidates = tuple(
        Candidate(f"text {number}", label, grade, reasoning)
        for number, (label, grade) in enumerate(zip(labels, grades or [None] * len(labels), strict=True))
    )
    return Group("q", "query", None, candidates, "MIT", "rows.jsonl")


ONLY_TRUE, ONLY_FALSE = [group(True), group(True, True)], [group(False), group(False, False)]
SINGLES = [group(True), group(False)]
POOR = {  # groups, and the objectives that learn nothing from them
    "only relevant": (ONLY_TRUE, {"contrastive", "binary", "verdict", "graded"}),
    "none relevant": (ONLY_FALSE, {"contrastive", "binary", "verdict", "graded"}),
    "one passage a query": (SINGLES, {"contrastive", "distill"}),
    "one kind a query": (ONLY_TRUE + ONLY_FALSE, {"contrastive"}),
    "one relevant passage": ([group(True)], set(NAMES)),
    "only relevant, graded": ([group(True, True, grades=[1.0, 0.8])], {"contrastive", "binary", "verdict"}),
    "graded alike": ([group(True, False, grades=[0.5, 0.5])], {"graded"}),
    "both": ([group(True, False)], set()),
    "both, beside others": ([group(True, False), *ONLY_TRUE], set()),
}


@pytest.mark.parametrize("name", POOR)
def test_an_objective_needs_passages_to_tell_apart(name):
    groups, nothing = POOR[name]
    for objective in NAMES:
        if objective in nothing:
            with pytest.raises(InputError, match=rf"rows\.jsonl: there is nothing to learn .*: {objective} needs"):
                check_learnable(groups, [objective])
        else:
            check_learnable(groups, [objective])


def test_all_objectives_that_learn_nothing_are_named():
    with pytest.raises(
        InputError, match=r"\(3 passages for 2 queries, 3 relevant\): contrastive needs .*; binary needs"
    ):
        check_learnable(ONLY_TRUE, {"contrastive": 1.0, "binary": 0.5, "distill": 1.0})


def test_distill_needs_a_query_with_a_teacher():
    """A source may have none (`teacher: none`), and then its queries do not count."""
    one, two = (replace(group(True), candidates=(replace(group(True).candidates[0], teacher=0.0),)), group(True, False))
    check_learnable([one, two], ["distill"])
    with pytest.raises(InputError, match="distill needs a query with two passages and a teacher"):
        check_learnable([one, two], ["distill"], taught=True)
    taught = replace(two, candidates=tuple(replace(each, teacher=0.0) for each in two.candidates))
    check_learnable([one, taught], ["distill"], taught=True)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=5))
def test_contrastive_needs_one_query_with_both(labels):
    groups = [group(*each) for each in labels]
    if any(len(set(each)) == 2 for each in labels):
        check_learnable(groups, NAMES)
    else:
        with pytest.raises(InputError):
            check_learnable(groups, NAMES)


def test_useless_groups_are_counted(caplog):
    with caplog.at_level(logging.INFO, "limrank_ir"):
        check_learnable([group(True, False), *ONLY_TRUE, group(False)], ["contrastive"])
        assert "learns nothing from 3 of 4 queries (2 have only relevant passages, 1 have none)" in caplog.text
        caplog.clear()
        check_learnable([group(True, False), *ONLY_TRUE], ["binary"])
        check_learnable([group(True, False)], ["contrastive"])
        assert not caplog.text
        check_learnable([group(True, reasoning="hm"), group(False)], ["traces"])
        assert "all 1 thoughts end in true" in caplog.text


def test_a_cross_encoder_skips_groups_with_nothing_to_learn():
    assert _row(group(False, False), {"contrastive": 1.0}) is None
    assert _row(group(True), {"binary": 1.0}) is None
    assert _row(group(True, False), {"binary": 1.0})["labels"][0] == pytest.approx(0, abs=1e-5)


@pytest.fixture(scope="module")
def model(tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp("model"), smol_folder)


ROWS = {
    "no negatives": [{"query": f"q {n}", "pos": [f"text {n}"], "neg": [], "license": "MIT"} for n in range(3)],
    "no positives": [{"query": "q", "passage": f"t {n}", "label": False, "license": "MIT"} for n in range(3)],
}


@pytest.mark.parametrize("how", [["--dry-run"], [], ["--cross-encoder"]])
@pytest.mark.parametrize("name", ["no negatives", "no positives"])
def test_the_command_says_so_before_anything_is_trained(model, tmp_path, name, how):
    write_rows(tmp_path / "rows.jsonl", ROWS[name])
    config = write_config(tmp_path / "run.yaml", model)
    result = CliRunner().invoke(app, ["train", str(config), *how])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert "rows.jsonl: there is nothing to learn" in result.stderr and "contrastive needs" in result.stderr
    assert not (tmp_path / "out").exists()
