"""The cross-encoder for comparison: sentence-transformers' own, on the rows of a configuration."""

from __future__ import annotations

import pytest
import torch

from limrank_ir.errors import LimRankError
from limrank_ir.train.cross_encoder import train_cross_encoder
from limrank_ir.train.rows import read_groups
from tests import tiny, training
from tests.training import write_config, write_rows


@pytest.fixture
def config(tmp_path, smol_folder):
    write_rows(tmp_path / "rows.jsonl", training.groups())
    steps = {"max_steps": 24, "save_steps": 12, "learning_rate": 3e-2, "lr_scheduler_type": "constant"}
    return write_config(tmp_path / "run.yaml", tiny.make(tmp_path / "base", smol_folder, std=0.3), training=steps)


def test_it_learns_and_opens_in_sentence_transformers(config, tmp_path):
    from sentence_transformers import CrossEncoder

    folder = train_cross_encoder(config)
    model = CrossEncoder(str(folder), local_files_only=True, activation_fn=torch.nn.Identity())
    groups = read_groups(tmp_path / "rows.jsonl")
    first = 0
    for group in groups:
        scores = model.predict([(group.query, candidate.text) for candidate in group.candidates])
        first += scores.argmax() == 0
    assert first > 0.6 * len(groups)  # by chance: a third or fewer
    # Query and passage are told apart, and the score is read at a token of its own.
    ids = model.tokenizer("a query", "a passage")["input_ids"]
    plain = [model.tokenizer(text)["input_ids"] for text in ("a query", "a passage")]
    assert ids == [*plain[0], ids[len(plain[0])], *plain[1], ids[-1]] and ids[-1] != model.tokenizer.pad_token_id


def test_whole_rankings_are_refused(tmp_path, smol_folder):
    write_rows(tmp_path / "rows.jsonl", training.groups())
    config = write_config(tmp_path / "run.yaml", "base", data={"layout": "listwise"}, objectives={"traces": 1.0})
    with pytest.raises(LimRankError, match="pointwise rows"):
        train_cross_encoder(config)
