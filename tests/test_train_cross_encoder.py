"""The sentence-transformers cross-encoder that is trained for comparison, on the rows of a configuration."""

from __future__ import annotations

import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir import LimRank
from limrank_ir.errors import LimRankError
from limrank_ir.train.cross_encoder import _row, train_cross_encoder
from limrank_ir.train.objectives import Verdicts, objective
from limrank_ir.train.rows import Candidate, Group, read_groups
from limrank_ir.train.run import train
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
    assert first > 0.6 * len(groups)  # by chance: at most a third
    # LimRank's own engine reads the same.
    asked = [(groups[0].query, candidate.text) for candidate in groups[0].candidates]
    ours = LimRank(str(folder), prompt_format="cross-encoder").predict(asked)
    assert ours == pytest.approx(model.predict(asked), abs=1e-3)
    # Query and passage are separated, and the score is read at an extra token.
    ids = model.preprocess([("a query", "a passage")])["input_ids"][0].tolist()  # what `predict` reads
    plain = [model.tokenizer(text)["input_ids"] for text in ("a query", "a passage")]
    assert ids == [*plain[0], ids[len(plain[0])], *plain[1], ids[-1]] and ids[-1] != model.tokenizer.pad_token_id


def test_it_continues_from_a_checkpoint(config, tmp_path):
    from sentence_transformers import CrossEncoder

    steps = ["training.save_steps=4", "training.max_steps=8"]
    whole = train_cross_encoder(config, output=tmp_path / "whole", changes=steps)
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", ignore=shutil.ignore_patterns("checkpoint-8"))
    shutil.rmtree(tmp_path / "parts" / whole.name)
    parts = train_cross_encoder(config, output=tmp_path / "parts", changes=steps)
    pairs = [("find red thing number 0", f"the thing is {color}") for color in training.COLORS]
    one, other = (CrossEncoder(str(folder), local_files_only=True).predict(pairs) for folder in (whole, parts))
    assert one == pytest.approx(other, abs=1e-5)
    with pytest.raises(LimRankError, match=r"checkpoints of a run with other settings \(lora\)"):
        train_cross_encoder(config, output=tmp_path / "parts", changes=[*steps, "lora.rank=8"])
    with pytest.raises(LimRankError, match=r"contains checkpoints, but no readable settings\.json"):
        train(config, output=tmp_path / "parts", changes=steps)
    (tmp_path / "parts" / "cross-encoder-settings.json").rename(tmp_path / "parts" / "settings.json")
    with pytest.raises(LimRankError, match=r"contains checkpoints, but no readable cross-encoder-settings\.json"):
        train_cross_encoder(config, output=tmp_path / "parts", changes=steps)


def test_whole_rankings_are_refused(tmp_path, smol_folder):
    write_rows(tmp_path / "rows.jsonl", training.groups())
    config = write_config(tmp_path / "run.yaml", "base", data={"layout": "listwise"}, objectives={"traces": 1.0})
    with pytest.raises(LimRankError, match="pointwise rows"):
        train_cross_encoder(config)


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-8, 8)), min_size=2, max_size=8),
    st.floats(0, 2),
    st.floats(0.01, 2),
)
def test_its_gradient_is_that_of_contrastive_and_distill(passages, distill, contrastive):
    weights = {"contrastive": contrastive, "distill": distill, "binary": 0.5}
    cosines, odds = ([each[part] for each in passages] for part in (0, 1))
    candidates = [Candidate(str(number), number == 0, None, None, cosine) for number, cosine in enumerate(cosines)]
    scores = torch.tensor([odds], dtype=torch.float64, requires_grad=True)
    verdicts = Verdicts(
        log_odds=scores,
        label_loss=torch.zeros_like(scores),
        labels=torch.tensor([[float(candidate.label) for candidate in candidates]], dtype=torch.float64),
        grades=torch.zeros_like(scores),
        teacher=torch.tensor([cosines], dtype=torch.float64),
        here=torch.ones_like(scores) > 0,
    )
    ours = sum(weights[name] * objective(name)(verdicts).mean() for name in ("contrastive", "distill"))
    aim = torch.tensor([_row(Group("q", "query", None, tuple(candidates), "", None), weights)["labels"]]).double()
    theirs = (contrastive + distill) * torch.nn.functional.cross_entropy(scores, aim.softmax(1))  # ListNet
    (mine,), (other,) = torch.autograd.grad(ours, scores), torch.autograd.grad(theirs, scores)
    assert torch.allclose(mine, other, atol=1e-4)
