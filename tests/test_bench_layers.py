"""``limrank bench layers``: a tiny model on a tiny collection, and exits with made-up verdicts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.benchmarks.layers.measure import early_ranking, exits, markdown, paying
from limrank_ir.benchmarks.layers.verdicts import LayerVerdicts
from tests import tiny
from tests.command_line import limrank as command
from tests.suite_collections import write_collection

FINAL = [4.0, 3.0, 2.0, 1.0]
DOCNOS = {"q": ["a", "b", "c", "d"]}


def at(early, share, qrels=None):
    layers = {"q": np.array([early, FINAL])}
    (point,) = exits("c", layers, DOCNOS, {"q": {"a": 1}} if qrels is None else qrels, [share])
    return point


def test_those_that_leave_follow_in_the_order_that_they_left_in():
    early, final = np.array([0.0, 5.0, 1.0, 2.0, 3.0]), np.array([9.0, 1.0, 1.0, 3.0, 4.0])
    assert early_ranking(early, final, 0) == [0, 4, 3, 1, 2]
    assert early_ranking(early, final, 0.4) == [4, 3, 1, 2, 0]
    assert early_ranking(early, final, 1) == [1, 4, 3, 2, 0]
    assert early_ranking(np.zeros(3), np.zeros(3), 0.5) == [0, 1, 2]
    assert early_ranking(np.zeros(0), np.zeros(0), 0.5) == []


def test_an_exit_that_keeps_the_ranking_pays():
    same = at([4.0, 3.0, 2.0, 1.0], 0.5)
    assert (same.layer, same.saved, same.tau, same.change) == (1, 0.25, 1, 0)
    assert paying([same]) == [(1, 0.5, 0.25)]


def test_an_exit_of_the_best_one_costs():
    worse = at([1.0, 3.0, 2.0, 4.0], 0.5)  # a and c leave: b d c a
    assert worse.tau == pytest.approx(1 - 2 * 4 / 6)
    assert worse.ndcg == pytest.approx(1 / np.log2(5))
    assert worse.change == pytest.approx(1 / np.log2(5) - 1)
    assert paying([worse]) == []
    assert paying([worse, at(FINAL, 0.5)]) == []  # one collection is enough
    assert "0 of the exits" in markdown([worse], {"model": "m"})


def test_a_single_candidate_has_no_tau():
    assert exits("c", {"q": np.ones((2, 1))}, {"q": ["a"]}, {"q": {"a": 1}}, [0.5]) == []


def test_the_last_layer_gives_the_verdicts(tmp_path, smol_folder):
    model = str(tiny.make(tmp_path / "model", smol_folder, num_hidden_layers=3))
    limrank = LimRank(model, prompt_format="rank1", think="never", device="cpu", dtype="float32")
    pairs = [("copy a file", passage) for passage in ("shutil.copy copies a file", "a cake needs flour", "")]
    found = LayerVerdicts(model, prompt_format="rank1").log_odds([limrank.prompt(*pair) for pair in pairs])
    assert found.shape == (3, 3)
    assert found[-1] == pytest.approx([each.log_odds for each in limrank.judge(pairs)], abs=1e-4)
    assert np.abs(found[-2] - found[-1]).max() > 0.1


def test_the_command(tmp_path, smol_folder):
    model = tiny.make(tmp_path / "model", smol_folder, num_hidden_layers=3)
    run = "".join(f"q{query} Q0 d{doc} {doc} {9 - doc} x\n" for query in (1, 2) for doc in range(1, 5))
    folder = write_collection(tmp_path / "plain", run_bm25=run)
    output = tmp_path / "out"
    options = ["--prompt-format", "rank1", "--share", "0.5"]
    result = command("bench", "layers", folder, "-o", output, "--model", model, *options)
    assert result.exit_code == 0, result.output
    record = json.loads((output / "results.json").read_text())
    assert [point["layer"] for point in record["points"]] == [1, 2]
    assert "| 2 | 50% | 17% |" in (output / "results.md").read_text()


def test_bad_input(tmp_path):
    result = command("bench", "layers", tmp_path, "-o", tmp_path / "out", "--share", "1.5")
    assert result.exit_code == 2
    assert "--share 1.5: give a share above 0, up to 1" in result.stderr
    with pytest.raises(InputError, match="needs a model with two labels"):
        LayerVerdicts("tfrank-0.6b")
