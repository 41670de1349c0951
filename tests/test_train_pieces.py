"""Runs that start from an adapter, go on in pieces, end with a decay, and keep and make averages."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.errors import LimRankError
from limrank_ir.models import MODELS
from limrank_ir.train.average import average
from limrank_ir.train.config import read_config
from limrank_ir.train.model import load_model, load_tokenizer
from limrank_ir.train.model_card import write_model_card
from limrank_ir.train.pieces import decayed
from limrank_ir.train.run import base_model, train
from limrank_ir.train.start import start_from
from limrank_ir.train.trained import read_trained
from tests import tiny, training
from tests.training import write_config, write_rows

STABLE = {
    "max_steps": 6,
    "save_steps": 2,
    "learning_rate": 3e-2,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 2,
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp("model"), smol_folder, std=0.3)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_rows(folder / "rows.jsonl", training.groups())
    return folder


@pytest.fixture(scope="module")
def whole(place, llama):
    """A run in one piece, with an average: its configuration and its folder."""
    path = write_config(place / "whole.yaml", llama, output="whole", training=STABLE, ema=0.8)
    train(path)
    return path, place / "whole"


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    return load_file(adapter / "adapter_model.safetensors")


def assert_same(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    expected = weights(other)
    for name, weight in weights(one).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=tolerance)


def logged(run: Path, name: str) -> list[float]:
    return [entry[name] for entry in json.loads((run / "run.json").read_text())["history"] if name in entry]


# Pieces and the average


def test_a_run_in_pieces_is_the_run_in_one_piece(whole, place, llama):
    path = write_config(place / "pieces.yaml", llama, output="pieces", training=STABLE, ema=0.8)
    assert train(path, max_minutes=0) is None  # each piece takes one step
    assert not (place / "pieces" / "adapter").exists() and (place / "pieces" / "checkpoint-1" / "ema").is_dir()
    assert train(path, max_minutes=0) is None
    assert train(path) == place / "pieces" / "adapter"
    assert_same(place / "pieces" / "adapter", whole[1] / "adapter")
    assert_same(place / "pieces" / "adapter-ema", whole[1] / "adapter-ema")
    assert logged(place / "pieces", "loss") == pytest.approx(logged(whole[1], "loss"), abs=1e-5)


def test_the_average_follows_the_weights(whole, place, llama):
    """From the weights that every step leaves, by the definition."""
    settings = {**STABLE, "save_steps": 1}
    train(write_config(place / "every.yaml", llama, output="every", training=settings))
    steps = [weights(place / "every" / f"checkpoint-{step}") for step in range(1, 7)]
    found = weights(whole[1] / "adapter-ema")
    for name, value in found.items():
        if "lora_B" in name:  # which starts from 0
            mean = torch.zeros_like(value)
            for step, each in enumerate(steps, 1):
                mean = mean.lerp(each[name], 1 - min(0.8, (1 + step) / (10 + step)))
            torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-6)
            assert not torch.allclose(value, steps[-1][name], atol=1e-3)
    with pytest.raises(LimRankError, match=r"has no ema/adapter, so its run had no ema; remove ema"):
        path = write_config(place / "every.yaml", llama, output="ended", training=settings, ema=0.8)
        train(path, decay=(place / "every" / "checkpoint-4", 2))


# The decay


def test_a_decay_begins_with_a_checkpoint(whole, place):
    path, run = whole
    adapter = train(path, output=place / "short", decay=(run / "checkpoint-4", 3))
    rates = logged(place / "short", "learning_rate")
    assert rates[:5] == pytest.approx(logged(run, "learning_rate")[:5])  # as in the run, up to the checkpoint
    assert rates[4:] == pytest.approx([3e-2, 3e-2 * 0.75, 3e-2 * 0.25], rel=1e-5)  # half a cosine in three steps
    assert logged(place / "short", "loss")[:5] == pytest.approx(logged(run, "loss")[:5], abs=1e-5)
    record = json.loads((place / "short" / "run.json").read_text())
    assert (record["branch"], record["steps"]) == ("whole/checkpoint-4", 7)
    assert (adapter.parent / "adapter-ema").is_dir()


def test_a_decay_needs_a_checkpoint_of_this_run_at_its_full_rate(whole, place, llama):
    path, run = whole
    checkpoint = run / "checkpoint-4"
    for changes, message in (
        ({"seed": 5}, r"checkpoint-4: from a run with other settings \(seed, the rows\); name one of this"),
        ({"training": {**STABLE, "learning_rate": 1e-3}}, r"other settings \(training\.learning_rate\)"),
        ({"training": {**STABLE, "lr_scheduler_type": "cosine"}}, r"not constant at step 4 \(cosine\)"),
        (
            {
                "training": {
                    **STABLE,
                    "lr_scheduler_type": "warmup_stable_decay",
                    "lr_scheduler_kwargs": {"num_decay_steps": 3},
                }
            },
            r"not constant at step 4 \(warmup_stable_decay\)",
        ),
    ):
        other = write_config(place / "other.yaml", llama, **{"output": "other", "training": STABLE, **changes})
        with pytest.raises(LimRankError, match=message):
            train(other, decay=(checkpoint, 3))
    with pytest.raises(LimRankError, match=r"whole has the run's own checkpoints; give another folder with -o"):
        train(path, decay=(checkpoint, 3))
    with pytest.raises(LimRankError, match=r"--from .*: not a complete checkpoint; name a folder checkpoint-N"):
        train(path, output=place / "other", decay=(run / "adapter", 3))


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint without weights, at step 4 of 6."""
    place = tmp_path / "run" / "checkpoint-4"
    place.mkdir(parents=True)
    (place / "trainer_state.json").write_text('{"global_step": 4, "max_steps": 6}')
    return place


def test_a_decay_uses_the_teachers_scores_of_its_run(tmp_path, checkpoint):
    path = write_config(tmp_path / "run.yaml", "model", output="run", training=STABLE)
    for name, expected in ((None, tmp_path / "run"), ("scores", tmp_path / "scores")):
        changes = [] if name is None else [f"data.teacher_cache={name}"]
        config = read_config(path, output=tmp_path / "ended", changes=changes)
        assert decayed(config, checkpoint, 2).teacher_cache == expected


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"warmup_steps": 5}, False),
        ({"warmup_steps": 0.7}, False),  # ceil(4.2), a share of the 6 steps
        ({"warmup_steps": 4}, True),
        ({"warmup_steps": 5, "lr_scheduler_type": "constant"}, True),  # which has no warmup
    ],
)
def test_a_decay_does_not_begin_in_the_warmup(tmp_path, checkpoint, changes, fits):
    config = read_config(write_config(tmp_path / "run.yaml", "model", training={**STABLE, **changes}))
    if fits:
        assert decayed(config, checkpoint, 2).training["warmup_steps"] == 0
    else:
        with pytest.raises(LimRankError, match=r"not constant at step 4 .* between the warmup and the decay"):
            decayed(config, checkpoint, 2)


# Averages of checkpoints


def test_checkpoints_of_one_run_are_averaged(whole, place):
    _, run = whole
    folder = average([run / "checkpoint-2", run / "checkpoint-4" / "ema"], place / "mean", [3, 1])
    one, other = weights(run / "checkpoint-2"), weights(run / "checkpoint-4" / "ema" / "adapter")
    for name, value in weights(folder).items():
        torch.testing.assert_close(value, 0.75 * one[name] + 0.25 * other[name])
    trained = read_trained(place / "mean", base_model="owner/name")
    assert trained.config == json.loads((run / "settings.json").read_text())["config"]
    assert [each["weight"] for each in trained.record["average"]] == [3, 1]
    for adapter in (folder, run / "adapter-ema", run / "checkpoint-4" / "ema" / "adapter"):  # it may have added tokens
        assert (adapter / "tokenizer.json").read_text() == (run / "adapter" / "tokenizer.json").read_text()
    write_model_card(replace(trained, weights="owner/name"), place / "card.md", "mean", "adapter", None)
    card = (place / "card.md").read_text()
    assert "whole/checkpoint-2 (3), whole/checkpoint-4/ema/adapter (1)" in card
    with pytest.raises(LimRankError, match=r"mean: already exists; remove it"):
        average([run, run / "checkpoint-2"], place / "mean")


def test_an_average_has_the_highest_precision_in_any_order(whole, tmp_path):
    run = shutil.copytree(whole[1], tmp_path / "run")
    half, single = run / "checkpoint-2", run / "checkpoint-4"
    save_file({name: value.half() for name, value in weights(half).items()}, half / "adapter_model.safetensors")
    one, other = average([half, single], tmp_path / "one"), average([single, half], tmp_path / "other")
    assert {value.dtype for value in weights(one).values()} == {torch.float32}
    assert_same(one, other, tolerance=0)
    with pytest.raises(LimRankError, match="with --weight, a number above 0 for each"):
        average([half, single], tmp_path / "mean", [1, float("inf")])


def test_runs_that_go_on_from_one_adapter_are_averaged_whatever_their_seeds(whole, place, llama, tmp_path):
    def run(name: str, seed: int, rank: int) -> Path:
        changes = {"training": {"max_steps": 1}, "lora": {"rank": rank, "start": str(whole[1] / "adapter")}}
        return train(write_config(place / f"{name}.yaml", llama, output=name, seed=seed, **changes))

    runs = [run("seed-1", 1, 4), run("seed-2", 2, 4)]
    folder = average(runs, tmp_path / "mean")
    one, other = map(weights, runs)
    assert any(not torch.equal(value, other[name]) for name, value in one.items())
    for name, value in weights(folder).items():
        torch.testing.assert_close(value, (one[name] + other[name]) / 2)
    made = json.loads((folder.parent / "run.json").read_text())["average"]
    assert [each["seed"] for each in made] == [1, 2] and all(len(each["data_sha256"]) == 64 for each in made)
    # Slots that the start does not fill are random.
    with pytest.raises(LimRankError, match=r"wide-2.*: its run differs from that of .*wide-1.* \(slots of .*"):
        average([run("wide-1", 1, 6), run("wide-2", 2, 6)], tmp_path / "wide")


def test_adapters_with_other_starts_are_not_averaged(whole, place, llama, tmp_path):
    _, run = whole
    train(write_config(place / "seed.yaml", llama, output="seed", training={"max_steps": 1}, seed=7))
    with pytest.raises(LimRankError, match=r"its run differs from that of .* \(seed\), so an average of their weights"):
        average([run, place / "seed"], tmp_path / "mean")
    shutil.copytree(run / "adapter", tmp_path / "alone")
    with pytest.raises(LimRankError, match=r"alone: no settings\.json of its run beside it"):
        average([run, tmp_path / "alone"], tmp_path / "mean")
    with pytest.raises(LimRankError, match="two or more checkpoints"):
        average([run], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


# The start from an adapter


def test_a_larger_adapter_starts_as_the_shipped_model(tmp_path, smol, smol_folder):
    """More rank and another alpha: the same log-odds before the first step, and more room to learn."""
    lora = {"rank": 40, "alpha": 12, "start": "limrank-smol"}
    path = write_config(tmp_path / "run.yaml", "limrank-smol-untrained", prompt_format=None, lora=lora)
    config = read_config(path)
    expected, tokenizer = smol
    model = load_model(config, smol_folder, load_tokenizer(smol_folder, config.lora), pack=False)
    inputs = tokenizer("Query: how do I copy a file?\nPassage: shutil.copy copies a file.\n", return_tensors="pt")
    labels = [tokenizer(" true").input_ids[0], tokenizer(" false").input_ids[0]]

    def log_odds(of):
        with torch.no_grad():
            true, false = of(**inputs).logits[0, -1].float()[labels]
        return float(true - false)

    untrained = log_odds(model)
    start_from(model, "limrank-smol", base_model(config, path))
    assert log_odds(model) == pytest.approx(log_odds(expected), abs=1e-4)
    assert abs(log_odds(model) - untrained) > 0.1
    a, b = slots(model, layer=20)
    assert a[32:].any() and b[:, :32].any() and not b[:, 32:].any()


def slots(model, layer):
    """A and B of an adapted projection."""
    projection = model.base_model.model.model.layers[layer].self_attn.q_proj
    return projection.lora_A["default"].weight, projection.lora_B["default"].weight


def test_layers_that_the_start_lacks_start_at_zero(whole, place, llama):
    start = shutil.copytree(place / "whole" / "adapter", place / "upper" / "adapter")
    tensors = {name: value for name, value in weights(start).items() if ".layers.0." not in name}
    save_file(tensors, start / "adapter_model.safetensors", metadata={"format": "pt"})
    lora = {"rank": 6, "start": str(start)}
    path = write_config(place / "lower.yaml", llama, output="lower", lora=lora)
    config = read_config(path)
    model = load_model(config, llama, load_tokenizer(llama, config.lora), pack=False)
    start_from(model, config.lora.start, base_model(config, path))
    assert slots(model, layer=1)[1].any() and not slots(model, layer=0)[1].any()


def test_a_run_from_an_adapter_says_so(whole, place, llama):
    start = {"lora": {"rank": 6, "start": "whole/adapter"}}
    path = write_config(place / "next.yaml", llama, output="next", training={"max_steps": 1}, **start)
    adapter = train(path)
    losses = logged(place / "next", "loss"), logged(place / "whole", "loss")
    assert losses[0][0] < 0.8 * losses[1][0]
    record = json.loads((place / "next" / "run.json").read_text())
    assert record["config"]["lora"]["start"] == record["start"]["adapter"] == "whole/adapter"
    trained = replace(read_trained(adapter, base_model="owner/name"), weights="owner/name")
    write_model_card(trained, place / "card.md", "next", "adapter", None)
    card = (place / "card.md").read_text()
    assert f"whole/adapter ({record['start']['identity']})" in card
    assert "The adapter that it started from had learned from others before." in card
    changed = shutil.copytree(place / "whole" / "adapter", place / "changed" / "whole" / "adapter")
    tensors = {name: 2 * value for name, value in weights(changed).items()}
    save_file(tensors, changed / "adapter_model.safetensors", metadata={"format": "pt"})
    start["lora"]["start"] = "changed/whole/adapter"
    write_config(path, llama, output="next", training={"max_steps": 1}, **start)
    with pytest.raises(LimRankError, match=r"other settings \(what it starts from\)"):
        train(path)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"rank": 2}, r"whole/adapter has rank 4, more than lora\.rank \(2\); raise lora\.rank"),
        ({"layers": [1]}, r"whole/adapter adapts model\.layers\.0\..*, and lora\.targets and lora\.layers do not"),
        ({"start": "nowhere"}, r"lora\.start: .*nowhere: no such folder"),
        ({"start": "limrank-smol-untrained"}, r"limrank-smol-untrained has no adapter; name an adapter's folder"),
        ({"start": "limrank-smol"}, r"limrank-smol: trained on other weights|made for"),
        ({"add_tokens": ["<think>"]}, r"start does not work with add_tokens; remove one of them"),
    ],
)
def test_a_start_that_does_not_fit(whole, place, llama, lora, message):
    lora = {"start": "whole/adapter", **lora}
    with pytest.raises(LimRankError, match=message):
        train(write_config(place / "bad.yaml", llama, output="bad", lora=lora))


def test_a_model_with_an_adapter_names_the_way(place):
    path = write_config(place / "named.yaml", "limrank-smol", prompt_format=None)
    with pytest.raises(LimRankError, match=r"train limrank-smol-untrained instead, with lora\.start: limrank-smol to"):
        train(path)
    assert MODELS["limrank-smol"].adapter is not None


# The command line


def test_the_commands(whole, place):
    path, run = whole

    def limrank(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    stopped = limrank("train", path, "-o", place / "stopped", "--max-minutes", 0)
    assert stopped.exit_code == 0 and "stopped after 0 minutes, before the end" in stopped.stderr
    assert not (place / "stopped" / "data.json").exists()
    alone = limrank("train", path, "--decay", 2)
    assert alone.exit_code == 2 and "--decay STEPS and --from CHECKPOINT go together" in alone.stderr
    ended = limrank("train", path, "-o", place / "ended", "--from", run / "checkpoint-2", "--decay", 1)
    assert ended.exit_code == 0 and (place / "ended" / "adapter").is_dir()
    made = limrank("average", run / "checkpoint-2", run / "checkpoint-4", "-o", place / "cli-mean")
    assert made.exit_code == 0 and (place / "cli-mean" / "adapter").is_dir()
    untaught = limrank("train", path, "--teach")
    assert untaught.exit_code == 2 and "--teach needs data.teacher and data.layout: pointwise" in untaught.stderr
    taught = ["--set", "data.teacher=bm25", "-o", place / "taught"]
    for option in ("--teach", "--dry-run"):
        shown = limrank("train", path, *taught, option)
        assert "rows.jsonl\tbm25\t100%\t100%" in shown.stdout, shown.output
        assert "rows.jsonl\tfused\t100%\t100%\t0\t0" in shown.stdout
    facts = json.loads((place / "ended" / "data.json").read_text())
    assert facts[0]["agreement"] == {}
