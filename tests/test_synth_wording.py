"""Refusals and talk around an answer are found, and real passages are left alone."""

from __future__ import annotations

import gzip
import json

import pytest

from limrank_ir.synth.reply import REFUSED, Unusable, read_reply
from limrank_ir.synth.wording import refuses, talk, unfenced
from tests.chat_server import said
from tests.conftest import SHARED

TEXT = "Rice that has cooled on the stove all night may hold a toxin that boiling does not destroy."


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that request.",
        "I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but I cannot write a passage on this topic.",
        "Sorry, I'm not able to provide that.",
        "Unfortunately, I am unable to assist with this request.",
        "I cannot fulfill this request, as it asks for medical advice.",
        "As an AI language model, I can't judge personal matters.",
    ],
)
def test_a_refusal_in_words_is_a_refusal(text):
    assert refuses(text)
    with pytest.raises(Unusable, match=f"^{REFUSED}$"):
        read_reply(said(text))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"Here is a draft:\n\n{TEXT}", "talk before the text ('Here is a draft:"),
        (f"Sure! {TEXT}", "talk before the text ('Sure!')"),
        (f"Certainly! Here's the passage you asked for:\n{TEXT}", "talk before the text"),
        (f"Of course. Here is a passage of about 90 words:\n{TEXT}", "talk before the text"),
        (f"Passage: {TEXT}", "talk before the text ('Passage:')"),
        (f"**Title:** Rice\n{TEXT}", "talk before the text"),
        (f"# Rice\n{TEXT}", "talk before the text"),
        (f"**Cold rice**\n\n{TEXT}", "talk before the text"),
        (f"{TEXT}\n\nLet me know if you would like any changes.", "talk after the text ('Let me know if you"),
        (f"{TEXT} I hope this passage helps!", "talk after the text"),
        (f"{TEXT}\n\nWould you like me to write another version?", "talk after the text"),
        (f"{TEXT}\n\nWord count: 120", "a count of its words ('Word count: 120')"),
        (f"{TEXT}\n\n(about 95 words)", "a count of its words"),
        (f"As an AI, I have no kitchen. {TEXT}", "wording that gives it away"),
    ],
)
def test_talk_around_a_text_is_named(text, what):
    found = talk(text)
    assert found is not None and found.startswith(what)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "I'm sorry to hear that your rice made you ill. I can't say what it was, but I would throw the rest away.",
        "Here is where most people go wrong: they leave the pot on the stove.",
        "Of course, nobody weighs rice at home. Certainly not my grandmother, who let me know if I took too much.",
        "Unfortunately, I can't remember the name of the dish. It had rice and beans.",
        "I'm an AI researcher, and the recipe has 120 words.",
    ],
)
def test_what_people_write_is_left_alone(text):
    assert not refuses(text) and talk(text) is None


def test_real_passages_are_left_alone():
    if not SHARED.is_dir():
        pytest.skip("real passages are not next to this repository")
    texts = []
    for name in ("liveqa-med", "stackexchange-ai", "hotpotqa-mini"):
        with gzip.open(SHARED / "data" / name / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
            texts += [json.loads(line)["text"] for line in file]
    assert len(texts) > 3000
    assert sum(refuses(text) or talk(text) is not None for text in texts) <= len(texts) // 1000


def test_a_fence_around_the_whole_text_is_removed():
    assert unfenced(f"```text\n{TEXT}\n```") == TEXT == unfenced(TEXT)
    inside = f"Run this:\n```\nls\n```\n{TEXT}"
    assert unfenced(inside) == inside
