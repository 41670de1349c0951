"""Each objective against a plain loop; a group's weight does not depend on its batch. trl: test_train_golden.py."""

from __future__ import annotations

import math
import random

import pytest
import torch

from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.prompts import RANK1
from limrank_ir.train.config import read_config
from limrank_ir.train.encode import trace_sequences, verdict_sequences
from limrank_ir.train.model import load_model, load_tokenizer
from limrank_ir.train.objectives import NAMES, Verdicts, objective
from limrank_ir.train.objectives.traces import loss as trace_loss
from limrank_ir.train.objectives.traces import loss_per_token
from limrank_ir.train.rows import Candidate, Group
from limrank_ir.train.run import arguments
from limrank_ir.train.trainer import VerdictTrainer, encoder
from tests import tiny
from tests.training import write_config

FROM_VERDICTS = [name for name in NAMES if name != "traces"]


def random_groups(seed=0, count=6):
    """(log-odds, -log p(label), label, grade, teacher) of each passage; some groups lack positives or negatives."""
    draw = random.Random(seed)
    kinds = [[1, 0, 0], [1], [0, 0], [1, 1, 0, 0, 0], [1, 1], [0]]
    return [
        [
            (draw.gauss(0, 4), draw.random() * 9, float(label), draw.random(), draw.uniform(-1, 1))
            for label in kinds[number % len(kinds)]
        ]
        for number in range(count)
    ]


def batch(groups, more=0):
    """The tensors of a batch, with `more` columns of padding, whose values must not affect the loss."""
    wide = max(map(len, groups)) + more
    columns = [
        torch.tensor([[row[part] for row in group] + [filler] * (wide - len(group)) for group in groups])
        for part, filler in ((0, 1e4), (1, 1e4), (2, 1.0), (3, 7.0), (4, 1e4))
    ]
    here = torch.tensor([[True] * len(group) + [False] * (wide - len(group)) for group in groups])
    return Verdicts(columns[0].requires_grad_(), columns[1].requires_grad_(), *columns[2:], here)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def naive(name, group):
    """The objective of one group, straight from its definition."""
    if name == "verdict":
        return sum(row[1] for row in group) / len(group)
    if name in ("binary", "graded"):
        wanted = [row[2 if name == "binary" else 3] for row in group]
        terms = [
            y * math.log(sigmoid(row[0])) + (1 - y) * math.log(sigmoid(-row[0]))
            for row, y in zip(group, wanted, strict=True)
        ]
        return -sum(terms) / len(group)
    weights = [math.exp(row[0]) for row in group]
    if name == "contrastive":
        positives = sum(weight for weight, row in zip(weights, group, strict=True) if row[2])
        return 0.0 if len({row[2] for row in group}) < 2 else -math.log(positives / sum(weights))
    teacher = [math.exp(row[4]) for row in group]
    pairs = [(t / sum(teacher), s / sum(weights)) for t, s in zip(teacher, weights, strict=True)]
    return sum(t * math.log(t / s) for t, s in pairs)


@pytest.mark.parametrize("name", FROM_VERDICTS)
def test_an_objective_matches_its_definition(name):
    groups = random_groups()
    expected = [naive(name, group) for group in groups]
    assert len({round(value, 6) for value in expected}) > 2
    torch.testing.assert_close(objective(name)(batch(groups)), torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FROM_VERDICTS)
@pytest.mark.parametrize("kinds", [range(6), [1, 4], [2, 5]], ids=["all", "only positives", "only negatives"])
def test_padding_does_not_matter_and_gradients_are_finite(name, kinds):
    groups = [random_groups()[number] for number in kinds]
    found = []
    for more in (0, 3):
        verdicts = batch(groups, more)
        loss = objective(name)(verdicts)
        loss.sum().backward()
        given = verdicts.label_loss if name == "verdict" else verdicts.log_odds
        assert given.grad.isfinite().all() and not given.grad[~verdicts.here].any()
        found.append((loss, given.grad[verdicts.here]))
    torch.testing.assert_close(found[0], found[1])
    alone = [objective(name)(batch([group]))[0] for group in groups]
    torch.testing.assert_close(found[0][0], torch.stack(alone))


def test_contrastive_pulls_the_positive_up_and_the_others_down():
    verdicts = batch([[(0.0, 0.0, 1.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0), (3.0, 0.0, 0.0, 0.0, 0.0)]])
    objective("contrastive")(verdicts).sum().backward()
    up, down, more = verdicts.log_odds.grad[0].tolist()
    assert up < 0 < down < more


def test_distill_is_zero_where_the_student_has_the_teachers_scores():
    group = [(teacher + 3, 0.0, 0.0, 0.0, teacher) for teacher in (6.0, -4.0, 5.0)]
    assert objective("distill")(batch([group])).item() == pytest.approx(0, abs=1e-6)


def test_distill_learns_nothing_from_a_group_without_a_teacher():
    known = [(odds, 0.0, 0.0, 0.0, teacher) for odds, teacher in ((1.0, 0.0), (-1.0, 2.0))]
    verdicts = batch([[(*row[:4], math.nan) for row in known], known])
    losses = objective("distill")(verdicts)
    losses.sum().backward()
    assert losses[0] == 0 and losses[1] > 0.5
    assert not verdicts.log_odds.grad[0].any() and verdicts.log_odds.grad[1].all()


def test_traces_are_averaged_over_tokens_then_sequences_then_groups():
    losses = [[1.0, 2.0, 6.0], [4.0], [5.0, 7.0]]
    row = torch.tensor([0, 0, 0, 1, 2, 2])
    flat = torch.tensor([loss for part in losses for loss in part], requires_grad=True)
    found = trace_loss(flat, row, torch.tensor([0, 0, 2]), 4)  # the second and the fourth group have no traces
    assert found.tolist() == [(3.0 + 4.0) / 2, 0, 6.0, 0]
    found.mean().backward()
    assert flat.grad.tolist() == pytest.approx([1 / 24] * 3 + [1 / 8] + [1 / 8] * 2)
    # Or, over the tokens of a step with one more batch of 4 tokens:
    assert loss_per_token(flat, torch.tensor(10)).item() == pytest.approx(25 / 10)


# The whole loss, on a tiny model

THOUGHTS = ["Yes.", "It says so. Therefore it is relevant.", None, "No, it says nothing of that, and nothing else."]
TEXTS = [("red", ["the thing is red", "blue"]), ("why?", ["because", "no", "never ever"]), ("x", ["y", "z"])]
GROUPS = [
    Group(
        str(number),
        query,
        None,
        tuple(
            Candidate(text, place == 0, 0.9 - place / 3, THOUGHTS[(number + place) % 4], 0.5 - place / 4)
            for place, text in enumerate(texts)
        ),
    )
    for number, (query, texts) in enumerate(TEXTS)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp("llama"), smol_folder)


@pytest.fixture(scope="module")
def trainer(folder):
    """A factory of trainers around two models, packed and padded, whose adapters are not zero."""
    models = {}

    def make(objectives, *, pack=True):
        path = write_config(folder / "run.yaml", folder, objectives=objectives, data=DATA)
        config = read_config(path)
        tokenizer = load_tokenizer(folder, config.lora)
        prompts = PromptTokenizer(tokenizer, RANK1)
        if pack not in models:
            torch.manual_seed(1)
            models[pack] = load_model(config, folder, tokenizer, pack=pack)
            for name, parameter in models[pack].named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.1)
        return VerdictTrainer(
            model=models[pack],
            args=arguments(config, path),
            train_dataset=GROUPS,
            encode=encoder(RANK1, prompts, config.data, objectives),
            objectives=objectives,
            labels=tuple(prompts.label_ids),
            pack=pack,
        )

    return make


DATA = {"teacher": "minilm"}


def loss_of(made, groups):
    return made.compute_loss(made.model, made.data_collator(groups))


def test_the_loss_is_the_weighted_sum_of_means_over_groups(trainer):
    weights = dict(zip(NAMES, (0.3, 1.0, 2.0, 0.5, 0.7, 1.5), strict=True))
    made = trainer(weights)
    with torch.no_grad():
        alone = {name: [loss_of(trainer({name: 1.0}), [group]).item() for group in GROUPS] for name in NAMES}
        together = loss_of(made, GROUPS).item()
    expected = sum(weights[name] * sum(values) / len(GROUPS) for name, values in alone.items())
    assert together == pytest.approx(expected, rel=1e-4)


def test_a_last_group_without_traces_counts_like_any_other(trainer):
    made = trainer({"traces": 1.0})
    mute = Group("m", "q", None, (Candidate("p", True),))
    with torch.no_grad():
        alone = loss_of(made, GROUPS[:1]).item()
        assert loss_of(made, [GROUPS[0], mute]).item() == pytest.approx(alone / 2, rel=1e-5)
        assert loss_of(made, [mute, GROUPS[0]]).item() == pytest.approx(alone / 2, rel=1e-5)


@pytest.mark.parametrize("pack", [True, False], ids=["packed", "padded"])
def test_a_batch_of_one_kind_has_finite_gradients(trainer, pack):
    made = trainer(dict.fromkeys(NAMES, 1.0), pack=pack)
    for label in (True, False):
        candidates = tuple(Candidate(text, label, reasoning="So.") for text in ("a", "b b b"))
        loss_of(made, [Group("1", "q", None, candidates)]).backward()
    gradients = [p.grad for p in made.model.parameters() if p.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def plain_loss(model, rows):
    """transformers' own loss, one sequence at a time, on the response only."""
    losses = []
    for row in rows:
        ids = torch.from_numpy(row.ids).long()[None]
        labels = ids.clone()
        labels[:, : row.prompt] = -100
        losses.append(model(input_ids=ids, labels=labels).loss)
    return losses


@pytest.mark.parametrize("name", ["traces", "verdict"])
def test_the_same_loss_as_transformers(trainer, folder, name):
    candidates = tuple(
        Candidate(text, place == 1, reasoning=f"{text} " * 3 * place) for place, text in enumerate("abc")
    )
    one = Group("1", "q", None, candidates)
    rows = (trace_sequences if name == "traces" else verdict_sequences)([one], RANK1, encode_with(folder), 128)
    made = trainer({name: 1.0}, pack=False)
    with torch.no_grad():
        plain = plain_loss(made.model, rows)
        ours = loss_of(made, [one])
    torch.testing.assert_close(ours, torch.stack(plain).mean(), rtol=1e-5, atol=1e-5)


def encode_with(folder):
    return PromptTokenizer(load_tokenizer(folder, made_lora()), RANK1)


def made_lora():
    from limrank_ir.train.config import Lora

    return Lora()


def test_the_loss_is_on_the_response_only(trainer, folder):
    """Only the logits that predict the response reach the loss."""
    made = trainer({"traces": 1.0, "verdict": 1.0}, pack=False)
    rows = trace_sequences(GROUPS, RANK1, encode_with(folder), 128)
    from limrank_ir.train.forward import packed, padded

    logits, row = padded(made.model, rows)
    assert len(logits) == sum(len(each.ids) - each.prompt for each in rows)
    for number, each in enumerate(rows):
        ids = torch.from_numpy(each.ids).long()[None]
        with torch.no_grad():
            expected = made.model(input_ids=ids).logits[0, each.prompt - 1 : -1]
        torch.testing.assert_close(logits[row == number], expected, rtol=1e-3, atol=1e-3)
    ours = trainer({"traces": 1.0, "verdict": 1.0}, pack=True)
    again, same = packed(ours.model, rows)
    assert same.tolist() == row.tolist()
    torch.testing.assert_close(again, logits, rtol=1e-3, atol=1e-3)


def test_identical_prompts_do_not_share_their_thoughts(trainer):
    """With the same prompt and thoughts that start the same, the shared prefix must end with the prompt."""
    thoughts = ["It says so, and so it is.", "It says so, and yet it is not."]
    twice = Group("1", "q", None, tuple(Candidate("p", place == 0, reasoning=t) for place, t in enumerate(thoughts)))
    with torch.no_grad():
        one, other = (loss_of(trainer({"traces": 1.0}, pack=pack), [twice, GROUPS[0]]) for pack in (True, False))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
