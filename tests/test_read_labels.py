"""Engines read labels: log-probabilities over the whole vocabulary, of two labels or of many, thinking or not."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from limrank_ir import InputError, LimRank, Verdict
from limrank_ir.verdict import Reading
from tests import tiny

QUERY = "how do I copy a file?"
LABELS = [
    (" true", " false"),
    tuple("01234"),
    (" yes",),
    (260, 357, 1000),  # token ids
    tuple(f" {letter}" for letter in "ABCDEFGHIJ"),
]


def plain_reading(model, tokenizer, text, labels):
    """The log-probabilities and logits of a plain forward pass."""
    with torch.inference_mode():
        logits = model(tokenizer(text, return_tensors="pt").input_ids).logits[0, -1].double()
    tokens = [
        label if isinstance(label, int) else tokenizer(label, add_special_tokens=False).input_ids[0] for label in labels
    ]
    return logits.log_softmax(-1)[tokens].tolist(), logits[tokens].tolist()


def readings(limrank, prompts, labels, **options):
    found = {}
    for batch in limrank.engine.read_labels(prompts, labels, **{"think": False, "budget": 1, **options}):
        found.update(batch)
    return [found[index] for index in range(len(prompts))]


@pytest.mark.parametrize("labels", LABELS, ids=len)
def test_any_number_of_labels(smol, limrank, docstrings, labels):
    prompts = [limrank.prompt(QUERY, passage) for passage in docstrings[:4]]
    for prompt, reading in zip(prompts, readings(limrank, prompts, labels), strict=True):
        expected = plain_reading(*smol, prompt.text, labels)
        assert reading.logprobs == pytest.approx(expected[0], abs=1e-3)
        assert reading.logits == pytest.approx(expected[1], abs=1e-3)
        assert reading.mass == pytest.approx(sum(map(math.exp, reading.logprobs))) and 0 < reading.mass < 1


@pytest.mark.parametrize("labels", LABELS[:2], ids=len)
def test_labels_after_a_thought_that_is_ended(smol, docstrings, labels):
    limrank = LimRank(think="always")
    prompts = [limrank.prompt(QUERY, passage) for passage in docstrings[:2]]
    for prompt, reading in zip(prompts, readings(limrank, prompts, labels, think=True, budget=5), strict=True):
        assert (reading.finish, reading.reasoning_tokens) == ("budget", 5)
        forced = limrank.engine._loaded.fmt.forced(prompt, reading.reasoning)
        assert reading.logprobs == pytest.approx(plain_reading(*smol, forced.text, labels)[0], abs=1e-3)


def test_what_follows_a_thought_sees_no_more_of_a_long_passage_than_it_did(smol):
    limrank = LimRank(think="always", max_length=160)
    prompt = limrank.prompt(QUERY, "one word after another, " * 60)
    ((reading,),) = [readings(limrank, [prompt], LABELS[0], think=True, budget=30)]
    tokenizer, fmt = limrank.engine._loaded.tokenizer, limrank.engine._loaded.fmt
    (whole,), (tokens,) = tokenizer.encode([prompt], 9999), tokenizer.encode([prompt], 160 - 30 - 8)
    assert reading.finish == "budget" and reading.cut_tokens == tokens.cut == len(whole.ids) - len(tokens.ids)
    forced = fmt.forced(tokens.shown(prompt), reading.reasoning)
    assert reading.logprobs == pytest.approx(plain_reading(*smol, forced.text, LABELS[0])[0], abs=1e-3)
    assert prompt.passage.startswith(forced.passage) and reading.prompt_tokens <= 160


def test_a_verdict_is_the_difference_of_two_labels(limrank, docstrings):
    prompt = limrank.prompt(QUERY, docstrings[0])
    (reading,) = readings(limrank, [prompt], (" true", " false"))
    (verdict,) = limrank.judge([(QUERY, docstrings[0])])
    assert verdict.log_odds == pytest.approx(reading.logprobs[0] - reading.logprobs[1], abs=1e-3)
    assert verdict.label_mass == pytest.approx(reading.mass, rel=1e-2)
    assert Verdict.of(Reading((-1.0, -2.0), "so", 7, 3, "verdict", 1)) == Verdict(
        1.0, "so", 7, 3, "verdict", 1, math.exp(-1) + math.exp(-2)
    )


@pytest.mark.parametrize("labels", [(" true", " true"), (" truth", " truth, mostly")])
def test_labels_that_begin_alike_are_refused(limrank, labels):
    with pytest.raises(InputError, match=r"two of the labels .* begin with the same token"):
        readings(limrank, [limrank.prompt("q", "p")], labels)


def test_a_low_mass_is_reported_once_where_the_user_chose_the_format(tmp_path, smol_folder, caplog):
    limrank = LimRank(str(tiny.make(tmp_path / "tiny", smol_folder)), prompt_format="rank1", think="never")
    with caplog.at_level(logging.INFO, "limrank_ir"):
        verdicts = limrank.judge([("q", "a"), ("q", "b")])
    masses = [verdict.label_mass for verdict in verdicts]
    assert limrank.stats.label_mass == pytest.approx(sum(masses) / 2) and max(masses) < 0.05
    (message,) = (record.getMessage() for record in caplog.records)
    assert message.endswith("for others, check that 'rank1' is their prompt format")


def test_a_named_model_is_known_to_have_its_format(limrank, caplog):
    with caplog.at_level(logging.INFO, "limrank_ir"):
        (verdict,) = limrank.judge([("q", "a")])
    assert verdict.label_mass < 0.05 and not caplog.records  # it was trained on the labels alone
