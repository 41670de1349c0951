"""Layers in 8 bits: exact sums, rankings that stay, and where they are refused."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from limrank_ir import LimRank, LimRankError
from limrank_ir.engines import cpu, precision
from limrank_ir.engines.int8 import Int8Linear, Int8Rows, can_quantize, overflows, product, turning
from limrank_ir.engines.loading import TESTED_FAMILIES
from limrank_ir.engines.precision import chosen_precision
from tests import classifiers, tiny

pytestmark = pytest.mark.skipif(not can_quantize(), reason="needs an x86 CPU with AVX2")

CPU = torch.device("cpu")
QUERY = "how do I read a file line by line?"
PASSAGES = [
    "Iterate over the file object: for line in open(path). It reads one line at a time, including its newline.",
    "str.splitlines(keepends=False): a list of the lines in the string, breaking at line boundaries.",
    "The Eiffel Tower was built in 1889.",
    "random.shuffle(x): shuffle the sequence x in place.",
]


def largest_error() -> float:
    """The largest difference of products from exact sums, with the values and weights that overflow first."""
    torch.manual_seed(0)
    worst = 0.0
    for rows, outputs, inputs in ((700, 192, 576), (3, 1536, 576), (40, 64, 96)):
        weight = torch.randn(outputs, inputs)
        weight[: outputs // 2] = weight[: outputs // 2].abs().clamp_min(1.5)  # nearly all are large and of one sign
        layer = Int8Linear(weight, None)
        stored = torch.round(weight / layer.scales[:, None]).double()
        layer.scales = torch.ones(outputs)
        values = torch.randint(0, 256, (1, rows, inputs), dtype=torch.uint8)
        values[:, : rows // 2] = 255
        exact = (values.double() - 128) @ stored.T
        worst = max(worst, float((product(values, layer) - exact).abs().max()))
    return worst


def test_sums_are_exact():
    assert largest_error() == 0


def test_sums_are_exact_without_vnni():
    """oneDNN is held back to AVX2, whose instruction adds pairs in 16 bits."""
    code = (
        "from tests.test_int8 import largest_error, Int8Linear, overflows; import limrank_ir.engines.int8 as int8\n"
        "assert overflows() and largest_error() == 0\n"
        "int8.overflows = lambda: False\n"
        "assert largest_error() > 1000"
    )
    environment = os.environ | {"DNNL_MAX_CPU_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_each_row_has_a_scale_of_its_own():
    x = torch.tensor([[[1.0, -2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0], [300.0, 1e-3, -100.0, 7.0]]])
    rows = Int8Rows(x)
    back = (rows.values.float() - 128) * rows.scales
    assert rows.values.dtype == torch.uint8 and rows.shape == x.shape
    assert ((back - x).abs() <= rows.scales / 2 + 1e-9).all()
    assert rows.values[0, 0].tolist() == [192, 1, 160, 128]
    alone = Int8Rows(x[:, 2:])
    assert torch.equal(alone.values[0, 0], rows.values[0, 2])


def test_turning_changes_no_lengths():
    turn = turning(48)
    torch.testing.assert_close(turn @ turn.T, torch.eye(48), atol=1e-6, rtol=0)
    assert torch.equal(turn, turning(48)) and turn.abs().max() < 0.7


@pytest.mark.parametrize("family", sorted(TESTED_FAMILIES))
def test_scores_stay_close_in_every_family(tmp_path, smol_folder, family):
    """Biases, norms of queries and keys, and windows included; in any batch, and where passages are the same."""
    more = {"sliding_window": 40} if family == "mistral" else {}
    folder = str(tiny.make(tmp_path / family, smol_folder, family, std=0.05, **more))
    passages = [f"{text} {'word ' * n}" for n, text in enumerate(PASSAGES * 3)]
    pairs = [(QUERY, passage) for passage in passages]
    model = LimRank(folder, prompt_format="rank1", think="never", device="cpu", dtype="int8")
    exact = LimRank(folder, prompt_format="rank1", think="never", device="cpu", dtype="float32").predict(pairs)
    rough = model.predict(pairs)
    assert 0 < np.abs(exact - rough).max() < 0.05 * max(exact.std(), 0.1)
    small = LimRank(
        folder, prompt_format="rank1", think="never", device="cpu", dtype="int8", engine_options={"batch_tokens": 60}
    )
    assert small.predict(pairs) == pytest.approx(rough, abs=1e-3)
    twice = model.predict([pairs[0], pairs[0]])  # nothing is left to read in 8 bits
    assert twice == pytest.approx(exact[0], abs=0.05) and twice[0] == pytest.approx(twice[1], abs=1e-3)


def test_the_real_model_ranks_as_in_float32():
    pairs = [(QUERY, passage) for passage in PASSAGES]
    exact, rough = LimRank(device="cpu", dtype="float32"), LimRank(device="cpu", dtype="int8")
    expected, found = exact.predict(pairs), rough.predict(pairs)
    assert 0 < np.abs(expected - found).max() < 0.4
    assert found.argsort().tolist() == expected.argsort().tolist()
    assert "int8" in rough.engine.identity and rough.engine.identity != exact.engine.identity
    assert rough.engine.identity.endswith(" int8-without-vnni max_length=8192") == overflows()


def test_auto_takes_the_fastest_that_keeps_rankings(tmp_path, smol_folder, monkeypatch):
    folder = tiny.make(tmp_path / "llama", smol_folder)
    assert chosen_precision(None, CPU, folder) == "float32"
    assert chosen_precision("float16", CPU, folder) == "float16"
    monkeypatch.setattr(precision, "outruns_float32", lambda dtype: True)
    assert chosen_precision("auto", CPU, folder) == "bfloat16"
    monkeypatch.setattr(precision, "outruns_float32", lambda dtype: False)
    assert chosen_precision("auto", CPU, folder) == "float32"  # not int8, which moves close passages
    assert chosen_precision("auto", CPU, tmp_path) == "float32"  # loading says what is wrong
    other = tiny.make(tmp_path / "other", smol_folder, hidden_act="gelu", num_hidden_layers=1)
    with pytest.raises(LimRankError, match=r"dtype='int8' needs an x86 CPU with AVX2 .* choose dtype='float32'"):
        LimRank(str(other), prompt_format="rank1", think="never", dtype="int8", device="cpu").predict([("a", "b")])


@pytest.mark.parametrize("times", [2.0, 0.5])
def test_instructions_that_are_slower_than_float32_are_not_used(monkeypatch, times):
    def seconds(layer, x):  # every other run is slowed down by another program
        calls.append(x.dtype)
        return (times if x.dtype == torch.bfloat16 else 1.0) * (1 + 9 * (len(calls) // 2 % 2))

    calls: list[torch.dtype] = []
    if not cpu.can_speed_up(torch.bfloat16):
        pytest.skip("this CPU or this build of PyTorch has no bfloat16")
    monkeypatch.setattr(cpu, "_seconds", seconds)
    cpu.outruns_float32.cache_clear()
    try:
        assert cpu.outruns_float32(torch.bfloat16) == (times < 1)
        count = len(calls)
        assert cpu.outruns_float32(torch.bfloat16) == (times < 1)
        assert len(calls) == count
    finally:
        cpu.outruns_float32.cache_clear()


def test_cross_encoders_have_no_int8(tmp_path):
    folder = str(classifiers.make(tmp_path / "bert", "bert"))
    with pytest.raises(LimRankError, match="cross-encoders do not run in int8; choose dtype='float32'"):
        LimRank(folder, prompt_format="cross-encoder", dtype="int8", device="cpu").predict([("a", "b")])
    fast = LimRank(folder, prompt_format="cross-encoder", dtype="auto", device="cpu")
    assert " float32 " in fast.engine.identity
