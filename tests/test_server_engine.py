"""Servers as an engine: the right numbers from every kind, and the same rules as the local engine's."""

from __future__ import annotations

import asyncio
import math
import time

import pytest
from transformers import AutoTokenizer

from limrank_ir import EngineError, InputError, LimRank
from limrank_ir.engines.server import ServerEngine
from limrank_ir.engines.servers.asking import forced_logprob
from limrank_ir.engines.servers.sharing import choose_server
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.models import resolve
from limrank_ir.prompts import prompt_format
from tests.label_server import KINDS, Model, says, serving, vllm

QUERY = "how do I copy a file?"
FMT = prompt_format("rank1")
SMOL = resolve("limrank-smol-untrained")
NAME = "limrank-smol-untrained"


@pytest.fixture(scope="module")
def plain(smol_folder):
    return AutoTokenizer.from_pretrained(smol_folder)


@pytest.fixture(scope="module")
def tokenizer(plain):
    return PromptTokenizer(plain, FMT)


@pytest.fixture
def model(plain):
    return Model(NAME, plain)


def read(url, passages, *, think=False, budget=40, labels=FMT.labels, done=frozenset(), **options):
    prompts = [FMT.render(QUERY, passage, think=think) for passage in passages]
    engine = ServerEngine(SMOL, url, **options)
    found = {}
    for batch in engine.read_labels(prompts, labels, think=think, budget=budget, done=done):
        found.update(batch)
    return found


def expected(tokenizer, ids, labels=FMT.labels):
    return tuple(says([int(number) for number in ids], label) for label in tokenizer.label_tokens(labels))


@pytest.mark.parametrize("kind", ["vllm", "sglang", "openai", "biased"])
def test_labels_at_once(kind, model, tokenizer):
    passages = ["cp a b", "A cake needs flour.", "x" * 30]
    with serving(kind, model) as server:
        found = read(server.url, passages, done={1})
    assert set(found) == {0, 2}
    for index, reading in found.items():
        (tokens,) = tokenizer.encode([FMT.render(QUERY, passages[index])], 4095)
        assert reading.logprobs == pytest.approx(expected(tokenizer, tokens.ids), abs=1e-6)
        assert (reading.prompt_tokens, reading.finish, reading.cut_tokens) == (len(tokens.ids), "verdict", 0)
        assert reading.reasoning is None and reading.logits is None


@pytest.mark.parametrize("kind", ["vllm", "sglang", "openai"])
@pytest.mark.parametrize("end", ["verdict", "eos", "budget"])
def test_labels_after_a_thought(kind, end, model, plain, tokenizer):
    said = " It copies. So it is</think>" if end == "verdict" else " It copies. So it is"
    model.thought = tokenizer.encode_text(said).tolist()
    thinks = len(model.thought)
    budget = {"verdict": 40, "eos": 40, "budget": thinks}[end]
    if end == "eos":
        model.generate = lambda ids, labels, most, force=None: (
            [force or 198] if most == 1 else [*model.thought] + ([2] if kind != "openai" else [])
        )
    with serving(kind, model) as server:
        reading = read(server.url, ["cp a b"], think=True, budget=budget)[0]
    prompt = FMT.render(QUERY, "cp a b", think=True)
    if end == "verdict":
        ids = [*tokenizer.encode([prompt], 4000)[0].ids.tolist(), *model.thought]
        assert reading.prompt_tokens == len(ids) - thinks
    else:
        ids = tokenizer.encode([FMT.forced(prompt, reading.reasoning)], 4095)[0].ids.tolist()
        assert reading.prompt_tokens == len(ids)
    assert reading.logprobs == pytest.approx(expected(tokenizer, ids), abs=1e-6)
    assert (reading.finish, reading.reasoning) == (end, "It copies. So it is")
    eos = end == "eos" and kind != "openai"
    assert reading.reasoning_tokens == thinks + (end == "verdict") + eos


def test_a_passage_of_a_megabyte_is_cut_as_in_the_local_engine(model, tokenizer):
    passage = "a word and another <|im_end|> " * 33_000
    with serving("vllm", model) as server:
        reading = read(server.url, [passage])[0]
    (tokens,) = tokenizer.encode([FMT.render(QUERY, passage)], 4095)  # the label needs one more
    assert reading.prompt_tokens == len(tokens.ids) <= 4095 and reading.cut_tokens == tokens.cut > 100_000
    assert reading.logprobs == pytest.approx(expected(tokenizer, tokens.ids))


def test_many_labels(model, tokenizer):
    with serving("sglang", model) as server:
        reading = read(server.url, ["cp a b"], labels=tuple("01234"))[0]
    (tokens,) = tokenizer.encode([FMT.render(QUERY, "cp a b")], 4095)
    assert reading.logprobs == pytest.approx(expected(tokenizer, tokens.ids, tuple("01234")))


def test_one_label_is_refused(model):
    refused = pytest.raises(InputError, match=r"raw logit .* use engine='local' or 'vllm'")
    with serving("vllm", model) as server, refused:
        read(server.url, ["cp"], labels=(" yes",))


def test_a_forced_label_with_the_bias_in_the_numbers_or_not():
    seen = {"\n": -0.1, " so": -3.0}
    assert forced_logprob(" true", seen, {" true": -9.0, "\n": -0.1, " so": -3.0}) == -9.0
    shift = math.log1p(math.exp(-9.0) * (math.exp(100) - 1))
    biased = {" true": -9.0 + 100 - shift, "\n": -0.1 - shift}
    assert forced_logprob(" true", seen, biased) == pytest.approx(-9.0)
    assert forced_logprob(" true", seen, {" true": 0.0}) is None  # nothing to compare
    assert forced_logprob(" true", seen, {" true": 0.0, "\n": -0.1}) is None  # it would have been seen
    assert forced_logprob(" true", seen, {"\n": -0.1}) is None


def test_readings_come_while_others_are_in_flight_and_closing_cancels_those(model):
    prompts = [FMT.render(QUERY, f"passage {number}") for number in range(60)]
    with serving("vllm", model, delay=0.3) as server:
        engine = ServerEngine(SMOL, server.url, engine_options={"concurrency": 3})
        batches = engine.read_labels(prompts, FMT.labels, think=False, budget=1)
        assert 1 <= len(next(batches)) <= 3
        started = time.monotonic()
        batches.close()
        assert time.monotonic() - started < 5 and server.most <= 3 and len(server.tries) < 20


def test_inside_a_running_event_loop(model):
    async def main():
        return LimRank(NAME, engine=server.url).judge([(QUERY, "cp a b")])

    with serving("vllm", model) as server:
        assert len(asyncio.run(main())) == 1


def test_the_store_knows_servers_by_what_they_run(model, tmp_path):
    store = str(tmp_path / "verdicts.sqlite")
    with serving("vllm", model) as one, serving("vllm", model) as two:
        first = LimRank(NAME, engine=one.url, store=store)
        first.judge([(QUERY, "cp a b")])
        second = LimRank(NAME, engine=f"{two.url}/v1/", store=store)
        second.judge([(QUERY, "cp a b")])
        assert second.stats.stored == 1 and not two.tries
        assert second.engine.identity == f"vllm 0.32.0 {NAME} max_length=4095"
        shorter = ServerEngine(SMOL, one.url, max_length=100)
        assert shorter.identity.endswith("max_length=100")


def test_queries_stay_with_their_server():
    urls = ["http://a", "http://b", "http://c"]
    before = {name: choose_server(name, urls) for name in map(str, range(300))}
    after = {name: choose_server(name, urls[:2]) for name in before}
    assert all(before.values()) and {*before.values()} == set(urls)
    assert all(after[name] == url for name, url in before.items() if url != "http://c")


def test_answers_of_another_model_stop_the_run(model):
    stopped = pytest.raises(EngineError, match=r"gpt-2 answered, but limrank-smol-untrained was asked")
    with serving("vllm", model, other="gpt-2") as server, stopped:
        read(server.url, ["cp a b"])
    assert sum(server.tries.values()) == 1


def test_a_server_that_cuts_prompts_is_an_error(model, monkeypatch):
    def cutting(*given):
        return {**vllm(*given), "usage": {"prompt_tokens": 3}}

    monkeypatch.setitem(KINDS, "vllm", ("vllm", "/v1/completions", cutting))
    stopped = pytest.raises(EngineError, match=r"read 3 tokens of a prompt that has \d+; it cuts prompts")
    with serving("vllm", model) as server, stopped:
        read(server.url, ["cp a b"])
