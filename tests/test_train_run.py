"""Complete runs on tiny models: packed and padded, killed and resumed, in two processes, and their output."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limrank_ir import LimRank
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.errors import LimRankError
from limrank_ir.prompts import RANK1
from limrank_ir.train.config import read_config
from limrank_ir.train.model import load_model, load_tokenizer
from limrank_ir.train.rows import read_groups
from limrank_ir.train.run import arguments, train
from limrank_ir.train.run_record import plot_loss
from limrank_ir.train.trainer import VerdictTrainer, encoder, last_complete_checkpoint
from tests import tiny, training
from tests.training import write_config, write_rows

ALL = {"contrastive": 1.0, "binary": 0.5, "traces": 0.3, "verdict": 0.2, "graded": 0.4}
LONG = {"max_steps": 12, "save_steps": 3, "learning_rate": 3e-2, "lr_scheduler_type": "constant"}
DROPOUT = {"dropout": 0.1}


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def family(request, tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp(request.param), smol_folder, request.param, std=0.3)


@pytest.fixture(scope="module")
def llama(tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp("model"), smol_folder, std=0.3)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with rows."""
    folder = tmp_path_factory.mktemp("runs")
    write_rows(folder / "rows.jsonl", training.groups())
    return folder


@pytest.fixture(scope="module")
def trained(place, llama):
    """A run without interruption: its configuration and its adapter."""
    path = write_config(place / "whole.yaml", llama, output="whole", training=LONG, lora=DROPOUT)
    return path, train(path)


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    return load_file(adapter / "adapter_model.safetensors")


def losses(adapter: Path, name: str = "loss") -> list[float]:
    history = json.loads((adapter.parent / "run.json").read_text())["history"]
    return [entry[name] for entry in history if name in entry]


# Packed and padded


def gradients(folder, place, *, pack, **changes):
    """Loss and gradients of a batch with every objective, for an adapter that is not zero."""
    path = write_config(place / "one.yaml", folder, objectives=ALL, **changes)
    config = read_config(path)
    tokenizer = load_tokenizer(folder, config.lora)
    torch.manual_seed(5)
    model = load_model(config, folder, tokenizer, pack=pack)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    prompts = PromptTokenizer(tokenizer, RANK1)
    made = VerdictTrainer(
        model=model,
        args=arguments(config, path),
        train_dataset=[0],
        encode=encoder(RANK1, prompts, config.data, ALL),
        objectives=ALL,
        labels=tuple(prompts.label_ids),
        pack=pack,
    )
    groups = read_groups(place / "rows.jsonl")[:4]
    loss = made.compute_loss(made.model, made.data_collator(groups))
    loss.backward()
    return loss, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("targets", ["all-linear", ["v_proj"]], ids=["all", "values"])
def test_packed_and_padded_agree(family, place, targets):
    loss, found = gradients(family, place, pack=True, lora={"targets": targets})
    expected, wanted = gradients(family, place, pack=False, lora={"targets": targets})
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    assert len(wanted) == (28 if targets == "all-linear" else 4)
    for name, gradient in wanted.items():
        scale = gradient.abs().max()
        assert scale > 1e-5, name
        torch.testing.assert_close(found[name] / scale, gradient / scale, rtol=1e-4, atol=1e-4)


def test_added_tokens_train_embeddings_and_head(place, tmp_path_factory, smol_folder):
    """PEFT copies both modules; the copies must be used and trained, in the trainer and in the engine."""
    folder = tiny.make(tmp_path_factory.mktemp("untied"), smol_folder, tie_word_embeddings=False, vocab_size=49153)
    lora = {"add_tokens": ["<think>", "</think>"]}
    _, found = gradients(folder, place, pack=True, lora=lora)
    full = [name for name in found if "modules_to_save" in name]
    assert [name.split(".modules_to_save")[0].rsplit(".", 1)[1] for name in full] == ["embed_tokens", "lm_head"]
    for name in full:
        assert found[name].shape == (49154, 64) and found[name].abs().max() > 1e-3
        assert found[name][49152:].any()  # the new tokens occur in prompts and responses
    path = write_config(place / "tokens.yaml", folder, output="tokens", objectives=ALL, lora=lora)
    adapter = train(path)
    before, after = (
        LimRank(str(folder), adapter=choice, prompt_format="rank1", think="never").judge([("find red", "it is red")])
        for choice in (None, str(adapter))
    )
    assert after[0].log_odds != pytest.approx(before[0].log_odds, abs=0.1)
    assert after[0].prompt_tokens < before[0].prompt_tokens  # the tags are one token each


def test_gradient_checkpointing_changes_nothing_but_memory(llama, place):
    settings = {"gradient_checkpointing": True}
    path = write_config(place / "less.yaml", llama, output="less", training=settings)
    more = write_config(place / "more.yaml", llama, output="more", packed=False)
    less, usual = train(path), train(more)
    assert losses(less) == pytest.approx(losses(usual), abs=1e-5)
    kept = weights(less)
    for name, weight in weights(usual).items():
        torch.testing.assert_close(kept[name], weight, rtol=0, atol=1e-5)


def test_bfloat16_on_a_cpu(llama, place):
    path = write_config(place / "half.yaml", llama, output="half", dtype="bfloat16", training={"bf16": True})
    whole = write_config(place / "full.yaml", llama, output="full")
    half, full = losses(train(path)), losses(train(whole))
    assert half == pytest.approx(full, rel=0.1) and half != full


# What a run learns and writes


def test_the_adapter_ranks_better(trained, llama, place):
    _, adapter = trained
    history = losses(adapter)
    assert len(history) == 12 and sum(history[-3:]) < 0.5 * sum(history[:3])
    groups = read_groups(place / "rows.jsonl")

    def margin(limrank):
        gaps = []
        for group in groups:
            scores = limrank.predict([(group.query, candidate.text) for candidate in group.candidates])
            gaps.append(scores[0] - scores[1:].mean())
        return sum(gaps) / len(gaps)

    before = LimRank(str(llama), prompt_format="rank1", think="never")
    after = LimRank(str(llama), adapter=str(adapter), prompt_format="rank1", think="never")
    assert margin(after) > margin(before) + 1


def test_the_record_of_a_run(trained, place):
    _, adapter = trained
    record = json.loads((adapter.parent / "run.json").read_text())
    settings = json.loads((adapter.parent / "settings.json").read_text())
    assert record["config"] == settings["config"] and record["data_sha256"] == settings["data_sha256"]
    assert record["config"]["data"]["sources"][0]["path"] == "rows.jsonl" and str(place) not in json.dumps(settings)
    assert (record["examples"], record["steps"], record["processes"], record["resumed"]) == (16, 12, 1, False)
    assert record["trained_parameters"] == sum(weight.numel() for weight in weights(adapter).values())
    steps = [entry for entry in record["history"] if "loss" in entry]
    assert [entry["step"] for entry in steps] == list(range(1, 13))
    for entry in steps:
        parts = entry["loss_contrastive"] + 0.5 * entry["loss_binary"]
        assert parts == pytest.approx(entry["loss"], rel=1e-4)


def test_the_plot(trained, place, tmp_path):
    import numpy as np
    from PIL import Image

    picture = np.asarray(Image.open(trained[1].parent / "loss.png").convert("RGB"))
    assert picture.shape == (540, 960, 3)
    drawn = (picture.max(-1) - picture.min(-1)) > 60  # colored, neither axes nor text
    assert drawn.any(0).mean() > 0.5  # lines from left to right

    def height(values):
        """How far down the line is at its left and right ends."""
        plot_loss([{"step": step, "loss": value} for step, value in enumerate(values)], tmp_path / "loss.png")
        picture = np.asarray(Image.open(tmp_path / "loss.png").convert("RGB")).astype(int)
        blue = (picture.max(-1) - picture.min(-1)) > 60
        columns = np.flatnonzero(blue[100:].any(0))
        return [blue[100:, column].argmax() for column in (columns[0], columns[-1])]

    left, right = height([3.0, 2.0, 1.0])
    assert left < right
    left, right = height([1.0, 2.0, 3.0])
    assert left > right


# Killed and resumed

KILLED = """
import os, signal, sys
from pathlib import Path
from limrank_ir.train import trainer
from limrank_ir.train.run import train

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

path, when = sys.argv[1:]
if when == "saving":  # weights, optimizer, and schedule exist; trainer_state.json does not yet
    save = trainer.VerdictTrainer._save_rng_state
    trainer.VerdictTrainer._save_rng_state = lambda self, *a: die() if self.state.global_step == 6 else save(self, *a)
else:
    loss = trainer.VerdictTrainer.compute_loss
    trainer.VerdictTrainer.compute_loss = (
        lambda self, *a, **k: die() if self.state.global_step == 7 else loss(self, *a, **k)
    )
train(Path(path))
"""


@pytest.mark.parametrize(("when", "last"), [("saving", 3), ("training", 6)])
def test_a_killed_run_ends_with_the_same_weights(trained, place, llama, when, last):
    path = write_config(place / f"{when}.yaml", llama, output=when, training=LONG, lora=DROPOUT)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path), when], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (place / when / "adapter").exists()
    assert (place / when / "checkpoint-6").exists()
    assert last_complete_checkpoint(place / when) == place / when / f"checkpoint-{last}"
    with pytest.raises(LimRankError, match="contains checkpoints; continue with --resume, or use another"):
        train(path, resume=False)
    adapter = train(path)
    expected = weights(trained[1])
    for name, weight in weights(adapter).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-5)
    assert losses(adapter) == pytest.approx(losses(trained[1]), abs=1e-5)
    assert losses(adapter, "num_tokens") == losses(trained[1], "num_tokens")
    assert json.loads((place / when / "run.json").read_text())["resumed"] is True


def test_incomplete_checkpoints_are_skipped(tmp_path):
    for step, text in ((2, '{"global_step": 2}'), (10, '{"global_step": 10}'), (30, '{"global_st'), (40, "{}")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    (tmp_path / "checkpoint-50").mkdir()
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_complete_checkpoint(tmp_path / "none") is None


def test_a_changed_run_is_not_resumed(trained, llama, tmp_path):
    shutil.copytree(trained[1].parent, tmp_path / "whole")
    write_rows(tmp_path / "rows.jsonl", training.groups())
    path = tmp_path / "run.yaml"
    write_config(path, llama, output="whole", training=LONG, lora={**DROPOUT, "rank": 8}, seed=1)
    with pytest.raises(LimRankError, match=r"checkpoints of a run with other settings \(lora, seed, the rows\)"):
        train(path)
    write_config(path, llama, output="whole", training=LONG, lora=DROPOUT)
    write_rows(tmp_path / "rows.jsonl", training.groups()[::-1])
    with pytest.raises(LimRankError, match=r"other settings \(the rows\); use another output folder, or remove"):
        train(path)
    (tmp_path / "whole" / "settings.json").unlink()
    with pytest.raises(LimRankError, match=r"contains checkpoints, but no readable settings\.json"):
        train(path)


def test_a_run_can_be_moved_to_another_folder(trained, llama, tmp_path):
    """The comparison ignores where files are, and finished work is not repeated."""
    shutil.copytree(trained[1].parent, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "adapter")
    write_rows(tmp_path / "data" / "rows.jsonl", training.groups())
    settings = {"folder": "data", "sources": [{"path": str(tmp_path / "data" / "rows.jsonl")}]}
    path = write_config(tmp_path / "a.yaml", llama, output="moved", data=settings, training=LONG, lora=DROPOUT)
    adapter = train(path)
    expected = weights(trained[1])
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(adapter).items())


# Several batches per step


@pytest.fixture(scope="module")
def batches(llama, place):
    """Runs with the same examples a step: in one batch, accumulated, and accumulated in two processes."""
    kinds = {
        "groups": {"objectives": ALL},
        "rows": {"objectives": {"traces": 1.0}, "data": {"layout": "rows", "sources": [{"path": "thoughts.jsonl"}]}},
    }
    thoughts = ["Yes.", "It is so, and that is why it is what was asked. " * 3, "It says nothing of that."]
    rows = [
        {"query": f"q{number}", "passage": f"p {number}", "label": number % 3 < 2, "reasoning": thoughts[number % 3]}
        for number in range(16)
    ]
    write_rows(place / "thoughts.jsonl", [{**row, "license": "MIT"} for row in rows])

    def config(kind, name, batch, steps):
        settings = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": steps}
        # Not Adam, which turns a gradient near 0 into a full step of either sign.
        settings |= {"optim": "sgd", "learning_rate": 0.3}
        return write_config(place / f"{name}.yaml", llama, output=name, training=settings, **kinds[kind])

    made = {
        kind: [train(config(kind, f"{kind}-{name}", 4 // n, n)) for name, n in (("one", 1), ("steps", 2))]
        for kind in kinds
    }
    program = place / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; from limrank_ir.train.run import train\n"
        "for path in sys.argv[1:]: train(Path(path))"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    ran = subprocess.run(
        [*command, *(str(config(kind, f"{kind}-both", 1, 2)) for kind in kinds)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return {kind: [*adapters, place / f"{kind}-both" / "adapter"] for kind, adapters in made.items()}


@pytest.mark.parametrize("kind", ["groups", "rows"])
def test_two_processes_and_accumulation_equal_one_batch(batches, kind):
    one, *others = batches[kind]
    record = json.loads((one.parent / "run.json").read_text())
    expected = [entry for entry in record["history"] if "loss" in entry]
    parts = [f"loss_{name}" for name in ALL] if kind == "groups" else []
    for adapter, processes in zip(others, (1, 2), strict=True):
        record = json.loads((adapter.parent / "run.json").read_text())
        assert record["processes"] == processes
        found = [entry for entry in record["history"] if "loss" in entry]
        for entry, other in zip(found, expected, strict=True):
            for name in ("loss", "num_tokens", *parts):
                assert entry[name] == pytest.approx(other[name], rel=1e-5, abs=1e-4), (adapter, name)
        kept = weights(one)
        for name, weight in weights(adapter).items():
            torch.testing.assert_close(weight, kept[name], rtol=0, atol=1e-5)


# Whole rankings


def test_rankings_are_learned(llama, tmp_path):
    rows = [
        {
            "instruction": f"Rank for query {number}.",
            "input": "[1] a\n[2] b\n[3] c",
            "output": "<think>b is it.</think> [2] > [1] > [3]",
        }
        for number in range(8)
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    path = write_config(
        tmp_path / "run.yaml",
        llama,
        data={"layout": "listwise"},
        objectives={"traces": 1},
        training={"max_steps": 8, "learning_rate": 5e-2},
    )
    history = losses(train(path))
    assert history[-1] < 0.7 * history[0]
    write_config(path, llama, output="b", data={"layout": "listwise", "cutoff": 30}, objectives={"traces": 1})
    with pytest.raises(LimRankError, match=r"rows\.jsonl:\d: \d+ tokens, more than data\.cutoff \(30\); raise it"):
        train(path)


# Adapters and models that do not fit


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"layers": [0, 2]}, r"lora\.layers: the model has 2 layers, counted from 0; remove 2"),
        ({"targets": ["c_attn"]}, r"lora: the adapter does not fit .*c_attn"),
    ],
)
def test_an_adapter_that_does_not_fit(llama, place, lora, message):
    with pytest.raises(LimRankError, match=message):
        train(write_config(place / "bad.yaml", llama, output="bad", lora=lora))


def test_a_folder_without_weights(place, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LimRankError, match="cannot be loaded"):
        train(write_config(place / "empty.yaml", tmp_path, output="empty"))
