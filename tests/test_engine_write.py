"""Engines write: greedily, in batches, up to a stop string, the budget, or the end that the model makes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from limrank_ir import InputError, LimRank
from limrank_ir.engines import writer
from limrank_ir.engines.cross_encoder import CrossEncoderEngine
from limrank_ir.engines.thoughts import answer_limits, up_to_stop
from limrank_ir.models import resolve
from tests import tiny

QUERY = "how do I copy a file?"


def plain(model, tokenizer, text, budget):
    """What transformers generates, and how far the likeliest token was ahead at the closest step."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=budget,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
    )
    gaps = [float(best - second) for ((best, second),) in (step.topk(2).values.tolist() for step in out.logits)]
    return tokenizer.decode(out.sequences[0, ids.shape[1] :]), min(gaps)


def written(engine, prompts, **options):
    found = {}
    for batch in engine.write(prompts, **options):
        found.update(batch)
    return found


def test_it_writes_what_transformers_does(smol, limrank, docstrings):
    prompts = [limrank.prompt(QUERY, passage, think=True) for passage in docstrings[:3]]
    before = limrank.engine.tokens
    found = written(limrank.engine, prompts, budget=8)
    compared = 0
    for index, prompt in enumerate(prompts):
        expected, margin = plain(*smol, prompt.text, 8)
        if margin > 1e-3:  # closer ones may come out either way between batches
            assert found[index].text == expected
            compared += 1
        assert (found[index].written_tokens, found[index].finish) == (8, "budget")
        assert found[index].prompt_tokens == len(smol[1](prompt.text).input_ids)
    assert compared and limrank.engine.tokens - before >= 24


def test_what_is_done_is_skipped_and_changes_nothing(limrank, docstrings):
    prompts = [limrank.prompt(QUERY, passage, think=True) for passage in docstrings[:4]]
    whole = written(limrank.engine, prompts, budget=4)
    assert written(limrank.engine, prompts, budget=4, done={0, 2}) == {index: whole[index] for index in (1, 3)}
    assert written(limrank.engine, prompts, budget=4, done={0, 1, 2, 3}) == {}


@pytest.fixture(scope="module")
def taught(tmp_path_factory, smol_folder):
    """A tiny model that knows two answers by heart: one with an answer's end, one that it ends itself."""
    folder = tiny.make(tmp_path_factory.mktemp("tiny"), smol_folder)
    limrank = LimRank(str(folder), prompt_format="rank1", think="never")
    ask = [limrank.prompt("q", passage) for passage in ("one", "two")]
    tiny.teach(folder, {ask[0].text: "<answer>[2]</answer> and on and on", ask[1].text: " so it is<|im_end|>"})
    return SimpleNamespace(engine=LimRank(str(folder), prompt_format="rank1", think="never").engine, prompts=ask)


def test_an_answer_ends_at_a_stop_string_or_by_itself(taught):
    found = written(taught.engine, taught.prompts, budget=40, stop=["</answer>"])
    assert (found[0].text, found[0].finish) == ("<answer>[2]</answer>", "stop")
    assert (found[1].text, found[1].finish) == (" so it is", "eos") and found[0].written_tokens < 40
    first, *rest = (written(taught.engine, taught.prompts, budget=budget)[0] for budget in (3, 5))
    assert first.finish == rest[0].finish == "budget" and rest[0].text.startswith(first.text)


def test_a_long_passage_is_cut_to_leave_room_for_the_answer(smol):
    limrank = LimRank(max_length=120)
    prompt = limrank.prompt(QUERY, "one word after another, " * 60)
    (found,) = written(limrank.engine, [prompt], budget=30).values()
    assert found.prompt_tokens == 90 and found.cut_tokens > 0 and found.written_tokens <= 30
    (found,) = written(limrank.engine, [prompt], budget=5000).values()
    assert found.prompt_tokens == 60 and found.written_tokens <= 60


def test_engines_that_cannot_write_say_so(tmp_path, smol_folder):
    class Reads:
        identity = "reads"
        __repr__ = lambda self: "Reads()"  # noqa: E731

    with pytest.raises(InputError, match=r"^Reads\(\) only reads labels, .*; choose a ranker that reads labels"):
        writer(Reads())
    cross = CrossEncoderEngine(resolve("ms-marco-minilm-l6-v2"))
    with pytest.raises(InputError, match="a cross-encoder gives one score and writes nothing"):
        writer(cross).write([], budget=1)


def test_rules_of_written_text():
    assert answer_limits(100, 30) == (70, 30) and answer_limits(100, 900) == (50, 50)
    assert up_to_stop("a <x> b <y> c", ["<y>", "<x>"]) == "a <x>"
