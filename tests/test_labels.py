"""A label is the token that can come next: it is tokenized behind the end of the prompt."""

from __future__ import annotations

import asyncio

import pytest

from limrank_ir import LimRank
from limrank_ir.engines.servers.tokenizing import Local, Remote
from limrank_ir.engines.servers.wire import Served
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.prompts import FORMATS, RANK1, SETS, Prompt
from limrank_ir.prompts.sets import set_format
from limrank_ir.rankers.asking import Read
from limrank_ir.rankers.by_engine import EngineAsk
from tests import sentencepiece, tiny

LETTERS = ("A", "B", "C")


def ending(name, passages=3, chat=lambda messages: f"<s>{messages[-1][1]}</s>\n<|assistant|>\n"):
    fmt = set_format(name)
    return fmt.render(fmt.skeleton(passages, chat, reads=True), "which?", ["p"] * passages).ending


class Words:
    """A server's tokenizer, and what it was asked."""

    url = "http://somewhere"

    def __init__(self, tokenizer):
        self.tokenizer, self.asked = tokenizer, []

    async def post(self, path, body, check):
        self.asked.append(body["prompt"])
        return check({"tokens": self.tokenizer(body["prompt"], add_special_tokens=False).input_ids})


def by_all(tokenizer, labels, before):
    """The label tokens by the local engine's tokenizer, and by a server's."""
    ours = PromptTokenizer(tokenizer, SETS)
    remote = Remote(Words(tokenizer), Served("vllm", "", "m"), SETS)
    found = ours.label_tokens(labels, before)
    for tokenizing in (Local(ours), remote):
        assert asyncio.run(tokenizing.labels(labels, before)) == found
    asked = len(remote.connection.asked)
    asyncio.run(remote.labels(labels, before))
    assert len(remote.connection.asked) == asked  # the labels of a run are asked once
    return found


@pytest.mark.parametrize("kind", sentencepiece.KINDS)
@pytest.mark.parametrize("name", ["first", "setwise", "setwise-numbers", "listwise"])
def test_labels_are_the_tokens_that_follow_the_prompt(kind, name):
    tokenizer = sentencepiece.make(kind)
    before, labels = ending(name), set_format(name).labels(3)
    found = by_all(tokenizer, labels, before)
    space = "▁" if name == "setwise" else ""
    assert tokenizer.convert_ids_to_tokens(found) == [space + label.strip() for label in labels]
    for label, number in zip(labels, found, strict=True):
        whole = tokenizer(before + label, add_special_tokens=False).input_ids
        assert whole == [*tokenizer(before, add_special_tokens=False).input_ids, number]


@pytest.mark.parametrize("kind", sentencepiece.KINDS)
def test_the_labels_of_a_thoughts_end(kind):
    """Alone, " true" and " false" begin with the same token here, a space."""
    tokenizer = sentencepiece.make(kind)
    found = by_all(tokenizer, RANK1.labels, RANK1.end_of_thought)
    assert tokenizer.convert_ids_to_tokens(found) == ["▁true", "▁false"]
    assert PromptTokenizer(tokenizer, RANK1).label_ids == found


def test_numbers_that_begin_alike_behind_the_prompt():
    """Alone, both begin with a space."""
    ours = PromptTokenizer(sentencepiece.make("prepended"), SETS)
    one, ten, two = ours.first_tokens(("1", "10", "2"), ending("listwise"))
    assert one == ten != two


@pytest.mark.parametrize("fmt", [each for each in FORMATS.values() if not isinstance(each.labels[0], int)])
def test_the_labels_of_verdicts_are_what_they_were(smol_folder, fmt):
    """Where a tokenizer puts no space before a text, a label behind the prompt is the label alone."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smol_folder)
    ours = PromptTokenizer(tokenizer, SETS)
    reads = [fmt.labels] if fmt.two_reads is None else [fmt.two_reads.first, fmt.two_reads.second]
    for labels in reads:
        alone = [tokenizer(label, add_special_tokens=False).input_ids[0] for label in labels]
        for before in (fmt.render("q", "p").ending, fmt.end_of_thought, "yes(", "1"):
            assert ours.first_tokens(labels, before) == alone


def test_a_label_before_which_the_end_of_the_prompt_has_other_tokens(smol_folder):
    """The model has read the prompt as it is, so that what could be joined with its end cannot come next."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smol_folder)
    before, both = tokenizer("\n\n").input_ids, tokenizer("\n\nyes").input_ids
    assert both[: len(before)] != before
    assert by_all(tokenizer, ("yes", "no"), "\n\n") == [tokenizer(text).input_ids[0] for text in ("yes", "no")]


def test_the_ending_is_what_the_format_wrote():
    assert Prompt("q", "p", "a [C] b\n", suffix_spans=((2, 5),)).ending == " b\n"
    assert Prompt("q", "p", "").ending == ""
    assert ending("first").endswith("<|assistant|>\n[")


def test_the_local_engine_reads_what_can_come_next(tmp_path, smol_folder):
    import torch
    from transformers import AutoModelForCausalLM

    folder = tiny.make(tmp_path, smol_folder, vocab_size=256)
    tokenizer = sentencepiece.make("prepended")
    tokenizer.save_pretrained(folder)
    ask = EngineAsk(LimRank(str(folder), prompt_format="sets"))
    question = Read("order", "A", ("B", "C", "D"))
    (answer,) = ask([question])
    text = ask._ways.way("order", 3, writes=False).prompt(question).text
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(folder)
        logits = model(tokenizer(text, return_tensors="pt").input_ids).logits[0, -1].double()
    numbers = tokenizer.convert_tokens_to_ids(LETTERS)
    assert answer.logprobs == pytest.approx(logits.log_softmax(-1)[numbers].tolist(), abs=1e-3)
