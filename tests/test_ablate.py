"""``limrank bench ablate``: resuming, failures, and one whole run with a tiny model."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from limrank_ir.benchmarks.ablate import plot
from limrank_ir.benchmarks.ablate import training as ablate_training
from limrank_ir.benchmarks.ablate.config import read_config
from limrank_ir.benchmarks.ablate.run import run_ablation
from limrank_ir.benchmarks.ablate.training import Training, base_settings, run_training, training
from limrank_ir.benchmarks.suite import report
from limrank_ir.benchmarks.systems.limrank import split_name
from limrank_ir.errors import EngineError, InputError
from tests import tiny
from tests.ablation import SOURCES, Stub, run, write, write_place
from tests.training import write_config


@pytest.fixture
def place(tmp_path):
    return write_place(tmp_path)


@pytest.fixture
def no_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as everything else."""
    for place in (plot, report):
        monkeypatch.setattr(place, "png", lambda found: b"")


def test_every_point_is_measured_with_every_seed_and_an_untrained_one_once(place):
    stub = Stub()
    assert run(write(place), stub) == []
    assert len(stub.trained) == 6  # all, less, without b; "k 2" shares the adapters of "all"
    assert len(stub.measured) == 4 * 2 + 1
    assert stub.measured[:5] == ["all, seed 1", "less, seed 1", "without b, seed 1", "k 2, seed 1", "untrained"]
    found = json.loads((place / "out/results.json").read_text())
    assert [found["spreads"]["alone"][name]["n"] for name in found["points"]] == [2, 2, 2, 2, 1]
    assert {path.name for path in (place / "out").iterdir()} >= {"results.md", "results.json", "card.json", "plot.png"}
    assert str(place) not in (place / "out/card.json").read_text()
    assert not list((place / "out").rglob("checkpoint-*"))


@pytest.mark.usefixtures("no_plot")
def test_a_second_call_trains_only_what_is_missing(place):
    first, second = Stub(), Stub()
    run(write(place, points={"all": {}}), first)
    run(write(place), second)
    assert len(first.trained) == 2
    assert len(second.trained) == 4
    assert not set(first.trained) & set(second.trained)


@pytest.mark.usefixtures("no_plot")
def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(place):
    stub = Stub()
    measure = stub.measure

    def interrupted(config, job, *rest):
        if job.label == "without b, seed 1":
            raise KeyboardInterrupt
        return measure(config, job, *rest)

    stub.measure = interrupted
    with pytest.raises(KeyboardInterrupt, match=r"2 of 9 trained .* run the same command again to resume"):
        run(write(place), stub)
    again = Stub()
    run(write(place), again)
    assert len(stub.trained) + len(again.trained) == 6


@pytest.mark.usefixtures("no_plot")
def test_a_failed_training_is_reported_and_the_others_go_on(place):
    stub = Stub(fails='"queries": 3')  # "less"
    assert run(write(place), stub) == [
        f"less, seed 2: {place}/out/work/training/{key_of(place, 'less', 2)}.log: the training failed (no memory); "
        "see this log"
    ]
    assert "**Incomplete:** less, seed 2" in (place / "out/results.md").read_text()
    assert len(stub.trained) == 5
    again = Stub()
    assert run(write(place), again) == []
    assert len(again.trained) == 1


def key_of(place: Path, point: str, seed: int) -> str:
    config = read_config(place / "ablate.yaml")
    return training(config, base_settings(config), point, seed).key


def test_without_any_figures_the_ablation_fails(place):
    stub = Stub(fails="a/train.jsonl")
    with pytest.raises(EngineError, match="no point could be measured; all, seed 2"):
        run(write(place, seeds=[2], points={"all": {}}), stub)


@pytest.mark.usefixtures("no_plot")
def test_other_queries_need_another_folder(place):
    run(write(place, points={"all": {}}), Stub())
    other = {"folder": "collections", "collections": ["plain", "given"], "k": 3, "queries": 2}
    with pytest.raises(InputError, match=r"out: its results were made without bench\.queries, not with"):
        run(write(place, points={"all": {}}, bench=other), Stub())


def test_a_training_that_limrank_train_refuses_stops_everything_before_it_begins(place):
    stub = Stub()
    stub.check = lambda plan, folder: (_ for _ in ()).throw(InputError("train.yaml: lora.rnk: unknown setting"))
    with pytest.raises(InputError, match="rnk"):
        run(write(place), stub)
    assert not stub.trained
    assert not (place / "out").exists()


def test_the_log_of_a_failed_training_is_in_the_message(tmp_path):
    plan = Training(tmp_path / "missing.yaml", None, (), 1, "key")
    with pytest.raises(EngineError, match=r"key\.log: the training failed \(.*missing\.yaml: cannot be read") as caught:
        run_training(plan, 3, tmp_path / "training" / "key", lambda count: None)
    assert "\n" not in str(caught.value)
    assert "missing.yaml" in (tmp_path / "training" / "key.log").read_text()


def test_a_killed_ablation_stops_its_training(tmp_path, monkeypatch):
    """A stand-in for Python that writes its process id and sleeps."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho $$\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(ablate_training, "POLL", 0.05)
    log = tmp_path / "training" / "key.log"

    def kill(count: int) -> None:
        if log.read_text():
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run_training(Training(tmp_path / "a.yaml", None, (), 1, "key"), 3, tmp_path / "training" / "key", kill)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_progress_of_a_training_is_read_from_its_log(tmp_path, monkeypatch):
    python = tmp_path / "python"
    bars = ["Batches:  7/9 [00:01<00:01]", " 20%|##    | 2/10 [00:04<00:16]", " 50%|####  | 5/10 [00:09<00:09]"]
    lines = "".join(f"printf '{bar.replace('%', '%%')}\\r'; sleep 0.1\n" for bar in bars)
    python.write_text(f"#!/bin/sh\n{lines}mkdir -p {tmp_path}/training/key/adapter\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(ablate_training, "POLL", 0.05)
    counts: list[int] = []
    plan = Training(tmp_path / "a.yaml", None, (), 1, "key")
    run_training(plan, 10, tmp_path / "training" / "key", counts.append)
    assert sum(counts) == 5


def test_an_adapter_of_a_hub_model_is_split_from_its_name(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert split_name(f"Qwen/Qwen2.5-7B+{tmp_path}") == ("Qwen/Qwen2.5-7B", str(tmp_path))


@pytest.mark.usefixtures("no_plot")
def test_a_whole_ablation_with_a_tiny_model(place, smol_folder):
    """Real training (in this process) and the real suite."""
    from limrank_ir.train.run import train

    model = tiny.make(place / "model", smol_folder, std=0.3)
    write_config(place / "train.yaml", model, data={"sources": SOURCES}, training={"max_steps": 2})

    def train_here(plan: Training, steps: int, folder: Path, advance: Any) -> None:
        train(plan.config, data=plan.data, output=folder, changes=[*plan.changes, f"seed={plan.seed}"])

    bench = {"folder": "collections", "collections": ["given"], "k": 2, "think": "never"}
    config = read_config(write(place, points={"all": {}}, bench=bench, seeds=[4]))
    assert run_ablation(config, place / "out", check=lambda plan, folder: 2, train=train_here) == []
    found = json.loads((place / "out/results.json").read_text())
    (one,) = found["measured"]
    assert (one["seed"], one["training"]["steps"]) == (4, 2)
    assert len(one["adapter"]) > 8
    assert one["figures"]["alone"].keys() == {"given"}
    assert set(one["per_query"]["fused"]["given"]) == {"q1", "q2", "q3"}
