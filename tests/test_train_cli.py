"""`limrank train`, `export`, and `push` on the command line."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.train.config import read_config
from tests import tiny
from tests.test_train_export import CONFIG, ROWS

CONFIGS = Path(__file__).parents[1] / "train" / "configs"
GPUS = 2  # in the paper and in the released settings


def limrank(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    from transformers.utils import logging as transformers_logging

    level = logging.getLogger("limrank_ir").level
    yield
    logging.getLogger("limrank_ir").setLevel(level)
    transformers_logging.enable_progress_bar()


@pytest.fixture(scope="module")
def home(tmp_path_factory, smol_folder):
    """A configuration whose data is in another folder."""
    folder = tmp_path_factory.mktemp("home")
    tiny.make(folder / "base", smol_folder)
    (folder / "elsewhere" / "toy").mkdir(parents=True)
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "elsewhere" / "toy" / "train.jsonl").write_text(rows)
    (folder / "run.yaml").write_text(CONFIG.format(model=folder / "base", output="out", lora="{rank: 4, alpha: 8}"))
    return folder


@pytest.fixture(scope="module")
def run(home):
    """The output folder of a run of the command."""
    result = train(home, "--output", home / "run")
    assert result.exit_code == 0, result.output
    return home / "run"


@pytest.fixture(scope="module")
def exported(home, run):
    result = limrank("export", run, home / "mine", "--as", "adapter", "--base-model", "somebody/tiny")
    assert result.exit_code == 0, result.output
    return home / "mine"


def train(home, *arguments):
    return limrank("train", home / "run.yaml", "--data", home / "elsewhere", *arguments)


# train


def test_train_writes_adapter_record_sources_and_plot_to_the_given_folder(home, run):
    assert {"adapter", "run.json", "data.json", "loss.png", "settings.json"} <= {path.name for path in run.iterdir()}
    ((source),) = json.loads((run / "data.json").read_text())
    assert (source["path"], source["pairs"], source["licenses"]) == ("toy/train.jsonl", 12, ["MIT"])
    assert source["excluded"] == 0 and not any("example" in name for name in source)  # other people's queries
    assert not (home / "out").exists()


def test_a_dry_run_predicts_the_run_and_writes_nothing(home, run):
    result = train(home, "--dry-run", "--output", home / "dry")
    assert result.exit_code == 0, result.output
    header, source, total, _, *facts = (line.split("\t") for line in result.stdout.splitlines())
    record = json.loads((run / "run.json").read_text())
    assert source[:5] == ["toy/train.jsonl", "MIT", "4", "12", "33%"] and total[2:5] == ["4", "12", "33%"]
    assert dict(zip(header, source, strict=True))["cut"] == "0" and int(source[5]) > 30
    found = dict(facts)
    assert (found["examples"], found["batch"], found["steps"]) == ("4", "2", str(record["steps"]))
    assert found["data"] == record["data_sha256"]
    seen = [entry["num_tokens"] for entry in record["history"] if "num_tokens" in entry]  # of one epoch
    assert found["tokens"] == f"{seen[-1]:,} in an epoch, 12 of them in responses"
    assert not (home / "dry").exists() and not (home / "out").exists()


def test_a_setting_can_be_changed_on_the_command_line(home):
    result = train(
        home, "--dry-run", "--output", home / "dry", "--set", "training.max_steps=7", "--set", "data.share=.5"
    )
    facts = dict(line.split("\t") for line in result.stdout.splitlines()[-5:])
    assert (facts["steps"], facts["examples"]) == ("7", "2")


def test_a_dry_run_does_not_run_the_teacher(home):
    output = home / "taught"
    taught = ["--set", "objectives={distill: 1}", "--set", "data.teacher=minilm", "--output", output]
    result = train(home, "--dry-run", *taught)
    assert result.exit_code == 0 and "(without the teacher's scores)" in result.stdout, result.output
    assert "scoring" not in result.stderr and not output.exists()


def test_a_dry_run_counts_the_queries_that_are_excluded(home):
    (home / "topics.tsv").write_text("1\tCopy FI\u00adLE 0\n")
    held_back = ["--set", f"data.exclude_topics=[{home / 'topics.tsv'}]"]
    result = train(home, "--dry-run", "--output", home / "dry", *held_back)
    header, source, *_ = (line.split("\t") for line in result.stdout.splitlines())
    row = dict(zip(header, source, strict=True))
    assert (row["queries"], row["excluded"]) == ("3", "1")
    assert "excluded\t1 of the queries, such as 'how do I copy file 0?', which contains 'Copy FI" in result.stdout


def test_a_dry_run_counts_the_queries_that_nearly_equal_a_held_out_one(home, tmp_path):
    asked = ["how do I fold a paper crane", "how do I really fold a paper crane", "why is the sky blue"]
    rows = [{"query": query, "pos": ["a"], "neg": ["b"], "license": "MIT"} for query in asked]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = ["--set", "data.held_out=1", "--set", f"data.sources=[{{path: {tmp_path / 'rows.jsonl'}}}]"]
    result = train(home, "--dry-run", "--output", home / "dry", *held_out)
    assert "near held-out\t1 of the queries are not used, such as '" in result.stdout, result.output


@pytest.mark.parametrize("how", [["--dry-run"], [], ["--cross-encoder"]])
def test_misspelled_settings_are_named_with_suggestions(home, how):
    changes = ["training.max_step=7", "training.learning_speed=1", "training.zzz=1"]
    result = train(home, *how, *(part for change in changes for part in ("--set", change)))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    for said in (
        "training.max_step: unknown setting; did you mean max_steps?",
        "training.learning_speed: unknown setting; did you mean learning_rate?",
        "training.zzz: unknown setting; check its name",
    ):
        assert said in result.stderr
    result = train(home, *how, "--set", "lora.ranks=7", "--set", "data.sources=[{pth: rows.jsonl}]")
    assert result.exit_code == 2 and "lora.ranks: unknown setting; did you mean rank?" in result.stderr
    assert "data.sources.0.path: Field required" in result.stderr and "did you mean path?" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dry-run", "--cross-encoder"], "--dry-run does not work with --cross-encoder; remove one of them"),
        (["--dry-run", "--held-out", "dev"], "--dry-run does not work with --held-out; remove one of them"),
        (["--dry-run", "--teach"], "--dry-run does not work with --teach; remove one of them"),
        (["--cross-encoder", "--max-minutes", 5], "--max-minutes does not work with --cross-encoder; remove one"),
        (["--teach", "--from", "run/checkpoint-2", "--decay", 5], "--from CHECKPOINT go together, without --held-out"),
    ],
)
def test_options_of_different_tasks_are_not_ignored(home, options, message):
    result = train(home, *options)
    assert result.exit_code == 2 and message in result.stderr
    assert not Path("dev").exists()


def test_a_dry_run_names_the_checkpoint_to_continue_from(home, run):
    before = (run / "settings.json").stat()
    result = train(home, "--dry-run", "--output", run)
    after = (run / "settings.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # not written again
    assert f"checkpoint\t{run}/checkpoint-2" in result.stdout


def test_the_same_command_continues_and_fresh_refuses(home, run):
    result = train(home, "--output", run, "--fresh")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "contains checkpoints; continue with --resume" in result.stderr
    again = train(home, "--output", run)
    assert again.exit_code == 0 and "checkpoint-2" in again.stderr


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("contrastive: 1.0", "contrasting: 1.0", "run.yaml: objectives: unknown objective 'contrasting'"),
        ("learning_rate", "learning_speed", "run.yaml: training.learning_speed: unknown setting"),
        ("toy/train", "toy/test", "toy/test.jsonl: no such file"),
        ("model: ", "model: limrank-smal #", "unknown model 'limrank-smal'"),
    ],
)
def test_mistakes_give_one_line_that_names_the_users_file(home, tmp_path, old, new, message, dry):
    config = tmp_path / "run.yaml"
    config.write_text((home / "run.yaml").read_text().replace(old, new))
    result = limrank("train", config, "--data", home / "elsewhere", "--output", tmp_path / "out", *dry)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr
    assert "run.yaml" not in result.stderr or str(config) in result.stderr


def test_only_the_main_process_prints(home, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    result = limrank("train", home / "missing.yaml")
    assert (result.exit_code, result.output) == (2, "")


def test_nothing_heavy_is_imported_for_help():
    heavy = "{'torch', 'transformers', 'huggingface_hub', 'pydantic', 'yaml', 'numpy'}"
    code = f"import sys, limrank_ir.train.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", ["train", "export", "push"])
def test_the_help_of_every_command_has_an_example(command):
    result = limrank(command, "--help")
    assert result.exit_code == 0
    assert "For example:" in result.stdout and f"limrank {command}" in result.stdout
    assert f" {command} " in limrank("--help").stdout


# configurations


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_valid(path):
    read_config(path)


@pytest.mark.parametrize(
    ("name", "rate", "epochs", "batch", "warmup", "tokens"),
    [
        ("limrank-7b", 6e-5, 5, 128, 0, ()),
        ("limrank-7b-released", 3e-5, 7, 64, 0.03, ("<think>", "</think>")),
    ],
)
def test_the_7b_configurations_have_the_published_values(name, rate, epochs, batch, warmup, tokens):
    from transformers import TrainingArguments

    config = read_config(CONFIGS / f"{name}.yaml")
    assert (config.model, config.prompt_format, config.seed) == ("Qwen/Qwen2.5-7B", "rank1", 12345)
    assert (config.lora.rank, config.lora.alpha, config.lora.targets) == (32, 64, "all-linear")
    assert config.lora.add_tokens == tokens and config.lora.layers is None
    assert (config.data.cutoff, config.dtype, config.objectives) == (2500, "bfloat16", {"traces": 1.0})
    assert [source.path.name for source in config.data.sources] == ["train_limrank.json"]
    assert (config.data.layout, config.data.cut) == ("rows", "proportional")
    # transformers accepts the settings; without use_cpu, bf16 would need a GPU.
    arguments = TrainingArguments(output_dir="none", use_cpu=True, **config.training)
    assert (arguments.learning_rate, arguments.num_train_epochs) == (rate, epochs)
    assert (arguments.lr_scheduler_type, arguments.bf16, arguments.gradient_checkpointing) == ("cosine", True, True)
    assert arguments.get_warmup_steps(1000) == warmup * 1000
    assert arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * GPUS == batch


def test_the_7b_configurations_differ_only_where_the_published_settings_differ():
    one, other = (
        yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) for name in ("limrank-7b", "limrank-7b-released")
    )
    assert {name for name in one if one[name] != other[name]} == {"output", "lora", "training"}
    assert {name for name in other["lora"] if one["lora"].get(name) != other["lora"][name]} == {"add_tokens"}


# push


@pytest.fixture
def hub():
    """A server with the four endpoints of the Hub that an upload needs; it records what was sent."""
    seen: list[tuple[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            place = self.path.split("?")[0]
            if self.headers.get("Authorization") == "Bearer unlucky":
                return self.answer(500, {"error": "it broke"})
            if self.headers.get("Authorization") != "Bearer good":
                return self.answer(401, {"error": "Invalid username or password."})
            if place.endswith("/commit/main"):
                seen.append(("commit", [json.loads(line) for line in body.splitlines()]))
                return self.answer(200, {"commitUrl": f"{self.root}/me/mine/commit/1", "commitOid": "1"})
            sent = json.loads(body)
            seen.append((place, sent))
            if place == "/api/repos/create":
                return self.answer(200, {"url": f"{self.root}/me/mine"})
            if place.endswith("/preupload/main"):
                kinds = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in sent["files"]]
                return self.answer(200, {"files": kinds})
            return self.answer(200, {"errors": [], "warnings": []})  # /api/validate-yaml

        def do_GET(self):
            self.answer(401, {"error": "Invalid username or password."})

        @property
        def root(self):
            return f"http://127.0.0.1:{self.server.server_port}"

        def answer(self, status, value):
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def push(folder, endpoint, tmp_path, token="good", *arguments):
    """Run in a separate process, because huggingface_hub reads its environment at import."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub"), "HF_TOKEN": token}
    command = [sys.executable, "-m", "limrank_ir", "push", str(folder), "me/mine", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_push_creates_the_repository_and_uploads_every_file(exported, hub, tmp_path):
    endpoint, seen = hub
    (exported / "notes.bin").write_bytes(b"not part of an export")
    done = push(exported, endpoint, tmp_path, "good", "--private")
    (exported / "notes.bin").unlink()
    assert done.returncode == 0, done.stderr
    assert f"{endpoint}/me/mine" in done.stderr
    created = next(value for place, value in seen if place == "/api/repos/create")
    private = created.pop("visibility", None) == "private" or created.pop("private", False)  # by version
    assert private and created == {"name": "mine", "organization": "me"}
    (commit,) = (value for place, value in seen if place == "commit")
    sent = {line["value"]["path"]: line["value"]["content"] for line in commit if line["key"] == "file"}
    assert set(sent) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "limrank.json"}
    weights = base64.b64decode(sent["adapter_model.safetensors"])
    assert weights == (exported / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("token", "dead", "status", "message"),
    [
        ("", False, 2, "no Hugging Face token; run `hf auth login`"),
        (
            "bad",
            False,
            2,
            "me/mine: the Hub refused the upload (401, Invalid username or password.); check that the token may",
        ),
        ("unlucky", False, 1, "me/mine: the Hub failed (500, it broke); push again later"),
        ("good", True, 1, "cannot be reached"),
    ],
)
def test_push_says_in_one_line_why_the_upload_failed(exported, hub, tmp_path, token, dead, status, message):
    done = push(exported, "http://127.0.0.1:9" if dead else hub[0], tmp_path, token)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    assert message in done.stderr


def test_a_dry_run_lists_the_files_without_hub_or_token(exported):
    result = limrank("push", exported, "me/mine", "--dry-run")
    assert result.exit_code == 0
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert names == ["file", "README.md", "adapter_config.json", "adapter_model.safetensors", "limrank.json"]


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("mine", "mine", "the owner is missing; write OWNER/NAME"),
        ("mine", "me/my mine", "not a valid repository name"),
        ("run/adapter", "me/mine", "not an export"),
        ("nowhere", "me/mine", "not an export"),
    ],
)
def test_push_refuses_other_folders_and_invalid_names(home, exported, monkeypatch, folder, name, message):
    monkeypatch.chdir(home)
    result = limrank("push", folder, name, "--dry-run")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr
