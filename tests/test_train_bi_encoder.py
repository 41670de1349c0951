"""The bi-encoder that learns from the reranker, with the real MiniLM."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from limrank_ir.errors import LimRankError
from limrank_ir.train.bi_encoder import scaled_cosine, train_bi_encoder
from limrank_ir.train.teacher import scores
from tests.training import write_config, write_rows

QUERIES = [f"question number {number}" for number in range(6)]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A teacher that wants what MiniLM does not: passages about bread."""

    def bread(name):
        return lambda groups: [[float("bread" in each.text) for each in group.candidates] for group in groups]

    monkeypatch.setattr(scores, "load_scorer", bread)
    rows = [
        {"query": query, "pos": [f"{query} is answered."], "neg": ["We bake bread.", "It rains."][: 1 + number % 2]}
        for number, query in enumerate(QUERIES)
    ]
    write_rows(tmp_path / "rows.jsonl", [{**row, "license": "MIT"} for row in rows])
    return write_config(
        tmp_path / "run.yaml",
        "limrank-smol-untrained",
        data={"teacher": "limrank-smol", "sources": [{"path": "rows.jsonl", "teacher": "as-is"}], "cutoff": 32},
        objectives={"distill": 1.0},
        training={"max_steps": 12, "save_steps": 6, "learning_rate": 3e-4, "per_device_train_batch_size": 4},
    )


def cosines(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), local_files_only=True)
    query = model.encode(QUERIES[:1])
    return model.similarity(query, model.encode(["We bake bread.", f"{QUERIES[0]} is answered."]))[0].tolist()


def test_it_learns_the_teacher_s_order_and_goes_on_from_a_checkpoint(config, tmp_path):
    from limrank_ir.retrieval import minilm

    bread, answer = cosines(minilm.folder("test"))
    assert bread < answer
    whole = train_bi_encoder(config, "minilm", output=tmp_path / "whole")
    bread, answer = cosines(whole)
    assert bread > answer
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", ignore=shutil.ignore_patterns("checkpoint-12", whole.name))
    assert cosines(train_bi_encoder(config, "minilm", output=tmp_path / "parts")) == pytest.approx(
        [bread, answer], abs=1e-4
    )


def with_prompts(folder: Path) -> Path:
    """MiniLM with the prompts of E5."""
    from limrank_ir.retrieval import minilm

    copy = Path(shutil.copytree(minilm.folder("test"), folder))
    file = copy / "config_sentence_transformers.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings |= {"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": None}
    file.write_text(json.dumps(settings), encoding="utf-8")
    return copy


def test_it_goes_on_from_a_checkpoint_of_the_same_bi_encoder_only(config, tmp_path):
    changes = ["training.max_steps=1", "training.save_steps=1"]
    train_bi_encoder(config, "minilm", output=tmp_path / "run", changes=changes)
    other = with_prompts(tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, other / "model.safetensors")
    with pytest.raises(LimRankError, match=r"other settings \(what it starts from\)"):
        train_bi_encoder(config, str(other), output=tmp_path / "run", changes=changes)


def test_the_student_reads_texts_with_its_prompts(config, tmp_path, monkeypatch):
    from sentence_transformers import SentenceTransformer

    def watched(self, inputs, **options):
        if "prompt" in options:  # else it is for the model card
            texts.extend((options["prompt"] or "") + text for text in inputs)
        return whole(self, inputs, **options)

    texts: list[str] = []
    whole = SentenceTransformer.preprocess
    monkeypatch.setattr(SentenceTransformer, "preprocess", watched)
    changes = ["training.max_steps=1", "training.save_steps=1"]
    train_bi_encoder(config, str(with_prompts(tmp_path / "prompted")), output=tmp_path / "run", changes=changes)
    assert [text for text in texts if text.startswith("query: question number")]
    assert [text for text in texts if not text.startswith(("query: question", "passage: "))] == []


def test_what_it_needs_is_checked_first(config, tmp_path):
    with pytest.raises(LimRankError, match=r"learns from data\.teacher"):
        train_bi_encoder(config, "minilm", changes=["data.teacher=[]", "objectives={contrastive: 1}"])
    with pytest.raises(LimRankError, match=r"--bi-encoder .*nowhere: cannot be loaded"):
        train_bi_encoder(config, str(tmp_path / "nowhere"))
    with pytest.raises(LimRankError, match="pointwise rows"):
        train_bi_encoder(config, "minilm", changes=["data.layout=listwise", "objectives={traces: 1}"])


def test_the_student_s_log_odds_are_cosines_times_20():
    found = scaled_cosine(torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, -1.0]]))
    assert found.tolist() == pytest.approx([20, 0], abs=1e-5)
