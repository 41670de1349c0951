"""`limrank judge`, `limrank models`, and the help of every command."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys

import pytest

from limrank_ir import LimRank, __version__
from limrank_ir.models import MODELS

from .command_line import limrank, one_thread, refused, write_broken_model, write_files


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder of the command, with good files in it."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_model(folder):
    return write_broken_model(folder)


def test_judge_prints_the_verdict_of_one_passage(folder):
    printed = json.loads(limrank("judge", "capital of France", "Paris", "--json").stdout)
    (verdict,) = LimRank().judge([("capital of France", "Paris")])
    assert printed["log_odds"] == verdict.log_odds
    assert printed["verdict"] == ("true" if verdict.log_odds > 0 else "false")
    assert printed["reasoning"] is None


def test_judge_reads_the_passage_from_stdin_and_shows_the_reasoning(folder):
    result = limrank("judge", "capital of France", "-", "--think", "always", "--budget", 8, stdin="Paris\n")
    (verdict,) = LimRank(think="always", budget=8).judge([("capital of France", "Paris\n")])
    assert result.exit_code == 0
    assert result.stdout.startswith(verdict.reasoning.strip())
    assert result.stdout.rstrip().endswith(f"log-odds {verdict.log_odds:+.4f})")
    assert (verdict.finish == "budget") == ("thoughts ended without a verdict" in result.stderr)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["judge", "q", ""], None, "the passage is empty"),
        (["judge", "q", "-"], b"", "the passage is empty"),
        (["judge", "q", "-"], b"caf\xe9", "stdin: not UTF-8 (byte 0xe9)"),
        (["judge", " ", "text"], None, "the query is empty"),
    ],
)
def test_judge_refuses_empty_or_broken_text(folder, no_model, arguments, stdin, message):
    refused(limrank(*arguments, *no_model, stdin=stdin), message)


def test_models_lists_all_of_them():
    rows = [line.split("\t") for line in limrank("models").stdout.splitlines()]
    assert [row[0] for row in rows[1:]] == list(MODELS)
    table = {row[0]: row for row in rows}
    assert table["limrank-7b"][1:] == ["songtingyu/limrank", "rank1", "always", "all", "7.6B", "GPU 24 GB", "pointwise"]
    assert table["limrank-smol"][6] == "CPU"
    assert table["rearank-7b"][2:5] == ["rearank", "always", "all"] and table["rearank-7b"][-1] == "listwise"
    assert table["rank-r1-7b-v0.1"][1] == "ielabgroup/Rank-R1-7B-v0.1"
    assert table["bge-reranker-v2-gemma"][4] == "local, vllm"  # one label: servers give no raw logits
    assert table["ms-marco-minilm-l6-v2"][4] == "local"
    records = json.loads(limrank("models", "--json").stdout)
    assert {record["name"]: record["fuse"] for record in records} == {name: m.fuse for name, m in MODELS.items()}


def test_the_demo_has_the_defaults_of_its_function():
    from limrank_ir.cli.app import demo
    from limrank_ir.demo.run import run_demo

    command = inspect.signature(demo).parameters
    function = inspect.signature(run_demo).parameters
    assert command["k"].default == function["k"].default
    assert command["queries"].default == function["count"].default


def test_version():
    assert limrank("--version").stdout == f"limrank-ir {__version__}\n"


@pytest.mark.parametrize("command", ["rerank", "retrieve", "eval", "judge", "models", "rankers", "demo"])
def test_every_command_has_a_help_with_an_example(command):
    result = limrank(command, "--help")
    assert result.exit_code == 0
    assert "For example:" in result.stdout
    assert f"limrank {command}" in result.stdout


def test_the_help_explains_the_exit_status():
    assert re.search(r"Exit status: 0 success; 2 .* 1 .* 130\s+Ctrl-C", limrank("--help").stdout)


def test_the_command_line_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'pyterrier', 'pandas', 'scipy', 'ir_measures', 'numpy'}"
    code = f"import sys, limrank_ir.cli.app; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
