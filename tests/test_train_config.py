"""Configurations of the training, and errors that are found before any weights load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from limrank_ir.errors import InputError, LimRankError
from limrank_ir.train.config import read_config
from limrank_ir.train.dry_run import dry_run
from tests import training
from tests.training import GROUP, write_config, write_rows


def config(tmp_path, **changes):
    return write_config(tmp_path / "run.yaml", tmp_path / "no-weights-here", **changes)


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A run on a folder without weights; looking for them raises another error than the expected one."""
    (tmp_path / "no-weights-here").mkdir()
    import limrank_ir.train.run as run

    def reached(name: str) -> Path:
        raise AssertionError(f"the weights {name} were looked for")

    monkeypatch.setattr(run, "locate", reached)
    write_rows(tmp_path / "rows.jsonl", training.groups())
    return run.train


BAD_CONFIGS = {
    "unknown setting": ({"learning_rate": 1}, r"run\.yaml: learning_rate: unknown setting; check its name"),
    "unknown setting inside": ({"data": {"mixture": 1}}, r"run\.yaml: data\.mixture: unknown setting"),
    "unknown objective": ({"objectives": {"dpo": 1}}, "objectives: unknown objective 'dpo'; choose from: traces, "),
    "weight": ({"objectives": {"binary": 0}}, "the weight of binary is 0.0; it must be a number above 0"),
    "no weight": ({"objectives": {"binary": float("nan")}}, "the weight of binary is nan"),
    "no objective": ({"objectives": {}}, "objectives: "),
    "negatives": ({"data": {"sources": [{"path": "rows.jsonl", "negatives": -1}]}}, r"data\.sources\.0\.negatives: "),
    "no sources": ({"data": {"sources": []}}, r"data\.sources: "),
    "cutoff": ({"data": {"cutoff": 3}}, r"data\.cutoff: .* greater than or equal to 16"),
    "seed": ({"seed": -1}, "seed: .* greater than or equal to 0"),
    "prompt format": ({"prompt_format": "rank2"}, "prompt_format: unknown prompt format 'rank2'; choose one of"),
    "teacher": ({"objectives": {"distill": 1}}, "the objective distill needs data.teacher, such as: minilm"),
    "twice": (
        {"data": {"teacher": ["bm25", "bm25"]}},
        r"data\.teacher: .*must be a name, a list of different",
    ),
    "weight of a teacher": (
        {"data": {"teacher": {"bm25": 0}}},
        "the weight of bm25 is 0.0; it must be",
    ),
    "no source for the teacher": (
        {
            "objectives": {"distill": 1},
            "data": {"teacher": "bm25", "sources": [{"path": "rows.jsonl", "teacher": "none"}]},
        },
        "the objective distill has no source: each says teacher: none",
    ),
    "no teacher to drop by": (
        {"data": {"sources": [{"path": "rows.jsonl", "drop_false_negatives": 1}]}},
        "drop_false_negatives needs data.teacher, such as: minilm",
    ),
    "layout": ({"data": {"layout": "listwise"}}, "with data.layout: listwise, the only objective is traces"),
    "rows": ({"data": {"layout": "rows"}}, "with data.layout: rows, the only objective is traces"),
    "cut": ({"data": {"cut": "proportional"}}, "cut: proportional needs layout: rows"),
    "negatives of rows": (
        {
            "data": {"layout": "rows", "sources": [{"path": "rows.jsonl", "negatives": 7}]},
            "objectives": {"traces": 1},
        },
        "with layout: rows, every row is used; remove negatives",
    ),
    "rows without reasoning": (
        {"data": {"layout": "rows"}, "objectives": {"traces": 1}},
        r"rows\.jsonl: the row 'q\d+' has no reasoning \(47 of 63 rows\)",
    ),
    "packed": (
        {"packed": True, "training": {"gradient_checkpointing": True}},
        "packed does not work with gradient_checkpointing",
    ),
    "ours": ({"training": {"seed": 3}}, r"training: training\.seed is set by limrank \(output, seed\); remove it"),
    "training": ({"training": {"lerning_rate": 1}}, r"run\.yaml: training\.lerning_rate: .* mean learning_rate"),
    "training value": ({"training": {"save_strategy": "sometimes"}}, r"run\.yaml: training: .*sometimes"),
    "learning rate": ({"training": {"learning_rate": "fast"}}, r"run\.yaml: training: .*learning_rate"),
    "unknown model": ({"model": "limrank-7c"}, "unknown model 'limrank-7c'"),
    "too few": (
        {"data": {"sources": [{"path": "rows.jsonl", "queries": 17}]}},
        r"rows\.jsonl: 17 queries requested, but only 16 available",
    ),
    "no file": ({"data": {"sources": [{"path": "none.jsonl"}]}}, r"none\.jsonl: no such file; check the path"),
    "no thinking": ({"prompt_format": "qwen3", "objectives": {"traces": 1}}, "qwen3 cannot think; remove traces"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_bad_configuration_is_named_before_weights_load(tmp_path, no_weights, changes, message):
    with pytest.raises(LimRankError, match=message):
        no_weights(config(tmp_path, **changes))


def test_a_dry_run_names_a_format_that_cannot_think(tmp_path):
    (tmp_path / "no-weights-here").mkdir()
    with pytest.raises(LimRankError, match=r"run\.yaml: objectives: the prompt format qwen3 cannot think; remove"):
        dry_run(config(tmp_path, prompt_format="qwen3", objectives={"traces": 1}))


def test_traces_alone_need_reasoning_in_every_group(tmp_path, no_weights):
    rows = training.groups()
    del rows[3]["reasoning"]
    write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(LimRankError, match=r"rows\.jsonl: the row 'q3' has no reasoning \(1 of 16 rows\)"):
        no_weights(config(tmp_path, objectives={"traces": 1}))
    with pytest.raises(AssertionError, match="looked for"):
        no_weights(config(tmp_path, objectives={"traces": 1, "binary": 1}))
    write_rows(tmp_path / "rows.jsonl", [{**row, "reasoning": None} for row in rows])
    with pytest.raises(LimRankError, match=r"has no reasoning \(16 of 16 rows\)"):
        no_weights(config(tmp_path, objectives={"traces": 1, "binary": 1}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("- 1", "not a configuration"),
        ("model: x", "data: Field required; objectives: Field required; output: Field required"),
    ],
)
def test_a_file_that_is_not_a_configuration(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(LimRankError, match=rf"run\.yaml: .*{message}"):
        read_config(path)
    with pytest.raises(LimRankError, match=r"other\.yaml: cannot be read \(No such file or directory\)"):
        read_config(tmp_path / "other.yaml")


def test_settings_can_be_overridden(tmp_path):
    path = write_config(tmp_path / "run.yaml", "m")
    changes = ["training.max_steps=7", "data.share=0.25", "lora.layers=[1, 2]", "seed=3", "training.report_to=none"]
    read, plain = read_config(path, changes=changes), read_config(path)
    assert read.training == {**plain.training, "max_steps": 7, "report_to": "none"}
    assert (read.data.share, read.lora.layers, read.seed) == (0.25, (1, 2), 3)
    assert read.data.sources == plain.data.sources


@pytest.mark.parametrize(
    ("change", "message"),
    {
        "training.max_steps": "must be NAME=VALUE, such as training.max_steps=600",
        "=7": "must be NAME=VALUE",
        "data.sources.path=x": "cannot set data.sources.path",
        "data.sources.0.path=x": "cannot set",
        "model.name=x": "cannot set model.name",
        "lora.layers=[": "cannot set",
        "data.shares=1": "data.shares: unknown setting",
        "seed=-1": "seed: Input should be greater than or equal to 0",
    }.items(),
)
def test_overrides_that_are_not_valid(tmp_path, change, message):
    with pytest.raises(LimRankError, match=message):
        read_config(write_config(tmp_path / "run.yaml", "m"), changes=[change])


def test_paths_are_relative_to_the_configuration(tmp_path):
    path = tmp_path / "configs" / "run.yaml"
    data = {"folder": "../data", "exclude_topics": ["b/topics.jsonl"]}
    data["sources"] = [{"path": "a/t.jsonl"}, {"path": "p.jsonl", "folder": "../own"}]
    read = read_config(write_config(path, "m", data=data, output="../out"))
    assert read.output == tmp_path / "out" and read.data.folder == tmp_path / "data"
    assert [source.path for source in read.data.sources] == [tmp_path / "data/a/t.jsonl", tmp_path / "own/p.jsonl"]
    assert read.data.exclude_topics == (tmp_path / "data/b/topics.jsonl",)


def test_bad_data_is_found_without_loading_torch(tmp_path):
    (tmp_path / "no-weights-here").mkdir()
    write_rows(tmp_path / "rows.jsonl", [GROUP | {"grades": [2, 0]}])
    code = (
        "import sys; from pathlib import Path\n"
        "from limrank_ir.errors import LimRankError\n"
        "from limrank_ir.train.run import train\n"
        "try: train(Path(sys.argv[1]))\n"
        "except LimRankError as error: print(error, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(config(tmp_path))], capture_output=True, text=True, check=True
    )
    assert made.stdout.endswith("rows.jsonl:1: the grade 2 is not a number from 0 to 1 False False\n")


def test_a_number_that_yaml_reads_as_text(tmp_path):
    from limrank_ir.train.run import arguments

    schedule = {"lr_scheduler_kwargs": {"min_lr_ratio": "2e-2", "decay_type": "linear", "num_decay_steps": 2}}
    path = config(tmp_path, training={"learning_rate": "1e-4", "max_steps": "5", **schedule})
    made = arguments(read_config(path), path)
    assert (made.learning_rate, made.max_steps) == (1e-4, 5)
    assert made.lr_scheduler_kwargs == {"min_lr_ratio": 0.02, "decay_type": "linear", "num_decay_steps": 2}


def test_the_shipped_configurations_are_installed_and_valid():
    import limrank_ir.train

    places = sorted((Path(limrank_ir.train.__file__).parent / "configs").glob("*.yaml"))
    assert "limrank-smol.yaml" in [place.name for place in places]
    for place in places:
        assert read_config(place).model == yaml.safe_load(place.read_text())["model"]


def test_only_formats_with_a_positive_and_a_negative_label_can_be_trained(tmp_path):
    from limrank_ir.models import resolve
    from limrank_ir.train.formats import TRAINABLE, trainable_format

    assert {"rank1", "qwen3"} <= set(TRAINABLE) and not {"erank", "tfrank", "cross-encoder"} & set(TRAINABLE)
    assert trainable_format(resolve("limrank-7b")).name == "rank1"
    for model in (resolve("erank-4b"), resolve("bge-reranker-v2-gemma"), resolve(str(tmp_path))):
        with pytest.raises(InputError, match=r"cannot be trained; set prompt_format to one with .*: rank1, qwen3"):
            trainable_format(model)
