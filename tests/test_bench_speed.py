"""``limrank bench speed``: what is compared, what it is bounded by, and what is said about it."""

from __future__ import annotations

import copy
import dataclasses
import json
from time import perf_counter

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from limrank_ir import InputError
from limrank_ir.benchmarks.speed.contenders import by_engine, cross_encoder, label_ids, plain_loop, plain_model
from limrank_ir.benchmarks.speed.limit import Limit
from limrank_ir.benchmarks.speed.measure import SpeedSettings, _tokens, measure, precisions
from limrank_ir.benchmarks.speed.passages import QUERY, Cell, grid
from limrank_ir.benchmarks.speed.plot import png
from limrank_ir.benchmarks.speed.report import facts, rates, ratios, report
from limrank_ir.cli.app import app
from limrank_ir.engines.cpu import GatedMLP, can_speed_up, speed_up
from limrank_ir.engines.int8 import can_quantize
from limrank_ir.engines.local import LocalEngine
from limrank_ir.models import resolve
from limrank_ir.prompts import FORMATS
from tests import classifiers, tiny

TEXTS = ["shutil.copy copies a {file} to 'another' \"place\"\n", "os.remove", "a cake needs flour \\ and eggs " * 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp("tiny"), smol_folder)


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, padding_side="left")


@pytest.fixture(scope="module")
def command(folder, tmp_path_factory):
    """A small run. Returns the command, its folder, and what it printed."""
    output = tmp_path_factory.mktemp("out") / "speed"
    model = ["bench", "speed", "--model", str(folder), "--prompt-format", "rank1", "--device", "cpu"]
    small = ["--length", "short", "--candidates", "5", "--candidates", "3", "--repeats", "1", "--dtype", "float32"]
    command = [*model, *small, "--sample", "2", "--json", "-o", str(output)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return command, output, done.stdout


@pytest.fixture(scope="module")
def figures(command):
    return json.loads(command[2])


@pytest.mark.parametrize("name", ["rank1", "qwen3", "query last"])
def test_all_contenders_read_the_same_prompt(folder, tokenizer, name):
    """In every format: with a query before or behind the passage, with quotes, braces, and line breaks in texts."""
    model = resolve(str(folder), prompt_format="rank1" if name == "query last" else name)
    fmt, engine = FORMATS[model.prompt_format], LocalEngine(model, device="cpu")
    if name == "query last":
        fmt = dataclasses.replace(fmt, before="Text: ", after="\nQuestion: {query}\n")
    labels = label_ids(engine, fmt)
    plain = plain_model(model, torch.device("cpu"), torch.float32)
    texts = [text.strip() for text in TEXTS]
    expected = plain_loop(plain, tokenizer, fmt, labels)(QUERY, texts)
    assert len(set(expected.round(3))) == 3
    assert by_engine(engine, fmt)(QUERY, texts) == pytest.approx(expected, abs=1e-3)
    assert cross_encoder(plain, folder, fmt, labels)(QUERY, texts) == pytest.approx(expected, abs=1e-3)


def test_the_grid_has_each_length_with_each_number_of_candidates(tokenizer):
    cells = grid(tokenizer, ["short", "long", "short"], [4, 2])
    assert [cell.name for cell in cells] == ["short, 2", "short, 4", "long, 2", "long, 4"]
    assert cells[1].texts[:2] == cells[0].texts and not set(cells[0].texts) & set(cells[2].texts)
    assert all(32 <= size <= 96 for size in cells[1].tokens) and all(400 <= size <= 1000 for size in cells[3].tokens)
    assert cells == grid(tokenizer, ["short", "long"], [2, 4])


@pytest.mark.parametrize(
    ("lengths", "candidates", "message"),
    [
        (["tall"], [2], "--length tall: unknown; choose from short"),
        (["long"], [9999], "--candidates 9999: only 1.. pas"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(tokenizer, lengths, candidates, message):
    with pytest.raises(InputError, match=message):
        grid(tokenizer, lengths, candidates)


def test_a_sample_is_spread_over_the_lengths():
    sizes = (5, 50, 1, 30, 20, 10)
    cell = Cell("mixed", tuple(f"text {size}" for size in sizes), sizes)
    assert [sizes[index] for index in cell.spread(3)] == [5, 50, 20]
    assert cell.spread(6) == cell.spread(60) == list(range(6))


def test_tokens_are_those_that_the_engine_reads(folder, tokenizer):
    fmt, engine = FORMATS["rank1"], LocalEngine(resolve(str(folder), prompt_format="rank1"), device="cpu")
    (cell,) = grid(tokenizer, ["mixed"], [6])
    shared, read = _tokens(engine, fmt, [cell])
    by_engine(engine, fmt)(f"{QUERY} (0.0)", cell.texts)
    assert engine.tokens == read[0] and shared[0] > 60


@pytest.fixture
def one_thread():
    """On a busy machine, threads that wait for each other would be measured."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_limit_is_a_bound_for_the_layers_of_the_local_engine(smol_folder, tmp_path, one_thread, dtype):
    """The engine's own faster layers must not beat it, as they did a limit of torch's plain products."""
    if not can_speed_up(dtype):
        pytest.skip(f"this machine has no fast {dtype}")
    from transformers import AutoModelForCausalLM

    wide = {"hidden_size": 320, "intermediate_size": 960, "num_hidden_layers": 2, "vocab_size": 200}
    folder = tiny.make(tmp_path, smol_folder, **wide)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    faster = copy.deepcopy(model)
    speed_up(faster, dtype)
    blocks = [module for module in faster.modules() if isinstance(module, GatedMLP)]
    limit = Limit(model.to(dtype))
    x = torch.randn(768, 320)
    best = np.inf
    for _ in range(2):  # in turns
        limit.measure()
        for _ in range(6):
            started = perf_counter()
            with torch.inference_mode():
                for mlp in blocks:
                    mlp(x.to(dtype))
            best = min(best, perf_counter() - started)
    shapes = {shape for shape in limit._counts if 960 in shape}
    bound = 768 * sum(limit._best[shape][0] * limit._counts[shape] for shape in shapes)
    assert len(blocks) == len(shapes) == 2 and bound < best * 1.1  # noise
    assert limit.seconds(1) > 0 and limit.flops > 1e8
    assert set(limit.kernels) == {"320 x 320", "160 x 320", "960 x 320", "320 x 960"}


def test_a_second_measure_never_loosens_the_limit(folder):
    limit = Limit(plain_model(resolve(str(folder), prompt_format="rank1"), torch.device("cpu"), torch.float32))
    limit.measure()
    first = limit.seconds(100)
    limit.measure()
    assert limit.seconds(100) <= first


def test_figures(figures):
    assert [(cell["length"], cell["candidates"]) for cell in figures["cells"]] == [("short", 3), ("short", 5)]
    assert [row["kind"] for row in figures["contenders"]] == ["plain", "cross-encoder", "ours"]
    for row in figures["contenders"]:
        assert row["largest_score_difference"] < 1e-3 and row["precision"] == "float32"
        assert all(rate > 0 for rate in row["pairs_per_second"]) and len(row["pairs_per_second"]) == 2
        limit = figures["limits"][0]["pairs_per_second"]
        assert row["of_limit"] == pytest.approx(np.divide(row["pairs_per_second"], limit))
    assert figures["contenders"][0]["to_plain"] == [1, 1]
    assert (
        figures["cells"][1]["read_tokens"] > figures["cells"][0]["read_tokens"] > figures["cells"][0]["shared_tokens"]
    )
    json.dumps(figures, allow_nan=False)


def test_tables_and_the_report_say_what_was_measured(figures):
    header, rows = rates(figures)
    assert header == ["pairs/s", "short x 3", "short x 5", "score gap"]
    assert [row[0] for row in rows][2:] == [
        "LimRank-IR, local engine, float32",
        "matrix products alone (limit), float32",
    ]
    assert ratios(figures, "to_plain")[1][0][1:] == ["1.0x", "1.0x"]
    text = report(figures, "limrank bench speed")
    assert "- `limrank bench speed`" in text and "instruction sets: " in text and "GFLOP/s (" in text
    assert any("at most 2 of the candidates" in line for line in facts(figures))
    unknown = {**figures, "instruction_sets": [], "load_before": None, "peak_memory": 2**31}
    assert any("instruction sets: unknown" in line for line in facts(unknown)) and "2.0 GiB" in facts(unknown)[-1]


def test_the_plot_has_a_panel_for_each_number_of_candidates(figures):
    from io import BytesIO

    from matplotlib.image import imread

    both = imread(BytesIO(png(figures)))
    one = {**figures, "cells": [{**cell, "candidates": 3} for cell in figures["cells"]]}
    assert both.shape[1] > imread(BytesIO(png(one))).shape[1] > 500
    assert both[..., :3].std() > 0.05


def test_precisions_of_a_cpu():
    found = precisions(torch.device("cpu"))
    half, int8 = can_speed_up(torch.bfloat16), can_quantize()
    assert found == ["float32", *(["bfloat16"] if half else []), *(["int8"] if int8 else [])]


def test_int8_stands_beside_the_plain_loop_in_float32(folder):
    if not can_quantize():
        pytest.skip("this machine has no int8")
    settings = SpeedSettings(lengths=["short"], candidates=[4], sample=2, dtypes=["int8"], device="cpu")
    figures = measure(str(folder), dataclasses.replace(settings, prompt_format="rank1"))
    named = [(row["kind"], row["precision"]) for row in figures["contenders"]]
    assert named == [("plain", "float32"), ("cross-encoder", "float32"), ("ours", "int8")]
    assert [limit["precision"] for limit in figures["limits"]] == ["float32", "int8"]
    (ours, plain), limit = ([figures["contenders"][n] for n in (2, 0)], figures["limits"][1])
    assert ours["to_plain"][0] == pytest.approx(ours["pairs_per_second"][0] / plain["pairs_per_second"][0])
    assert ours["of_limit"][0] == pytest.approx(ours["pairs_per_second"][0] / limit["pairs_per_second"][0])
    assert limit["kernels"]["64 x 64"].startswith("oneDNN int8, ")
    assert "GOP/s (oneDNN int8)" in " ".join(facts(figures)) and "oneDNN's " in " ".join(facts(figures))


@pytest.mark.parametrize("name", ["cross-encoder", "tfrank"])
def test_models_that_cannot_be_compared_are_refused(tmp_path, folder, name):
    place = classifiers.make(tmp_path / "bert", "bert") if name == "cross-encoder" else folder
    with pytest.raises(InputError, match=r"bench speed compares (causal )?models"):
        measure(str(place), SpeedSettings(prompt_format=name))


def test_the_command_writes_a_folder_and_prints_json(command, figures):
    arguments, output, _ = command
    assert figures == json.loads((output / "results.json").read_text())
    card = json.loads((output / "card.json").read_text())
    assert card["settings"]["candidates"] == [5, 3] and card["usage"]["seconds"] > 0
    assert list(card["data"].values()) == [f"sha256:{figures['texts']}"]
    assert (output / "plot.png").stat().st_size > 9000
    assert "# Speed of" in (output / "results.md").read_text()
    other = CliRunner().invoke(app, [*arguments, "--sample", "3"])
    assert other.exit_code == 2 and "with --sample 2, not with --sample 3" in other.output.replace("\n", " ")
