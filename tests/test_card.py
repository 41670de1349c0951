"""The run card: command, versions, hardware, commit, hashes, time, and energy, or why there is none."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from limrank_ir.benchmarks import energy
from limrank_ir.benchmarks import environment as places
from limrank_ir.benchmarks.card import content_hashes, run_card, write_card
from limrank_ir.benchmarks.energy import measured
from limrank_ir.benchmarks.systems.system import System
from limrank_ir.benchmarks.tags import run_tag
from limrank_ir.errors import InputError


def test_a_card_says_what_it_takes_to_make_the_result_again(tmp_path):
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\n")
    system = System("limrank-smol", "smol", "weights abc", 0.7, "adapter hash", start=lambda: None, reads="queries")
    with measured() as usage:
        pass
    card = run_card(
        settings={"-k": 100}, data=content_hashes([tmp_path / "qrels.txt"]), systems=[system], device="cpu", usage=usage
    )
    write_card(tmp_path, card)
    assert json.loads((tmp_path / "card.json").read_text()) == card
    assert {"command", "date", "hardware", "device", "python", "torch", "limrank-ir"} <= card["environment"].keys()
    assert all(card["environment"].values())
    assert card["settings"] == {"-k": 100}
    digest = "18a26f7d9f22c3b396aec350cd00ebeba14e90d9b877339be06e416787d6c616"
    assert card["data"] == {str(tmp_path / "qrels.txt"): f"sha256:{digest}"}
    facts = {"name": "limrank-smol", "identity": "weights abc", "adapter_hash": "adapter hash", "fusion_weight": 0.7}
    assert card["systems"] == {"smol": {**facts, "reads": "queries"}}
    assert card["usage"]["seconds"] > 0 and card["usage"]["started"].endswith("+00:00")


def test_hashes_are_those_of_the_content(tmp_path):
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    one.write_text("a")
    same.write_text("a")
    other.write_text("b")
    found = content_hashes([one, same, other])
    assert found[str(one)] == found[str(same)] != found[str(other)]
    with pytest.raises(InputError, match="missing: cannot be read"):
        content_hashes([tmp_path / "missing"])


def test_the_commit_is_that_of_the_checkout_that_tracks_the_file(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True)

    tracked, installed = tmp_path / "code.py", tmp_path / "venv.py"
    tracked.write_text("1\n")
    installed.write_text("1\n")
    assert places.commit(tracked) == ""  # no checkout
    git("init", "--quiet")
    git("add", "code.py")
    git("commit", "--quiet", "-m", "one")
    head = git("rev-parse", "HEAD").stdout.strip()
    assert places.commit(tracked) == head
    assert places.commit(installed) == ""  # somebody else's checkout
    tracked.write_text("2\n")
    assert places.commit(tracked) == f"{head} with changes"


def test_without_git_there_is_a_card_without_a_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "commit" not in run_card(settings={}, data={})["environment"]


def test_time_is_measured_also_when_the_run_fails():
    with pytest.raises(KeyboardInterrupt), measured() as usage:
        raise KeyboardInterrupt
    assert usage.seconds > 0 and "has not ended" not in usage.energy


def test_the_real_tracker_measures_energy_or_says_that_there_are_no_counters():
    pytest.importorskip("tirex_tracker", reason="tirex-tracker is not installed: it comes with limrank-ir[energy]")
    before = signal.getsignal(signal.SIGUSR1)
    with measured() as usage:
        sum(range(100_000))
    assert bool(usage.joules) == usage.energy.startswith("measured by tirex-tracker 0.")
    assert usage.joules or usage.energy == "not measured: this machine shows tirex-tracker no energy counters"
    assert signal.getsignal(signal.SIGUSR1) is before


def test_energy_is_not_measured_outside_of_the_main_thread_and_the_card_says_so():
    pytest.importorskip("tirex_tracker", reason="tirex-tracker is not installed: it comes with limrank-ir[energy]")
    notes = []

    def work():
        with measured() as usage:
            pass
        notes.append(usage.energy)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert notes[0].startswith("not measured: tirex-tracker failed (signal only works in main thread")


def counters(**values):
    """A tirex-tracker on a machine that has these counters."""

    def start(measures, poll_intervall_ms):
        return SimpleNamespace(stop=lambda: {name: SimpleNamespace(value=values[name]) for name in measures})

    names = ("CPU_ENERGY_SYSTEM_JOULES", "RAM_ENERGY_SYSTEM_JOULES", "GPU_ENERGY_SYSTEM_JOULES")
    return SimpleNamespace(
        start_tracking=start, Measure=SimpleNamespace(**dict(zip(names, ("cpu", "ram", "gpu"), strict=True)))
    )


def test_energy_where_the_machine_has_counters(monkeypatch):
    monkeypatch.setattr(energy, "installed", lambda package: True)
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0.2.24")
    monkeypatch.setitem(sys.modules, "tirex_tracker", counters(cpu=b"12.5", ram=b"null", gpu=b'"300"'))
    with measured() as usage:
        pass
    assert usage.joules == {"cpu": 12.5, "gpu": 300.0}
    assert usage.energy == "measured by tirex-tracker 0.2.24"


def test_without_the_tracker_the_card_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(energy, "installed", lambda package: False)
    with measured() as usage:
        pass
    assert usage.energy == "not measured: tirex-tracker is not installed; run: pip install 'limrank-ir[energy]'"
    assert not usage.joules


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["bm25"], "bm25"),
        (["limrank-smol", "fused"], "limrank-smol-fused"),
        (["a b/c:d", "Übung"], "a-b-c-d-bung"),
        (["x" * 20], "x" * 20),
    ],
)
def test_tags_of_runs_have_letters_that_trec_takes(parts, expected):
    assert run_tag(*parts) == expected


def test_long_tags_are_cut_and_stay_different():
    tags = {run_tag("limrank-smol+runs/adapter", str(number), "fused") for number in range(50)}
    assert len(tags) == 50 and all(re.fullmatch(r"limrank-smol-ru-[0-9a-f]{4}", tag) for tag in tags)
