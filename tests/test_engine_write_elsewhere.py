"""Servers and vLLM write by the rules of the local engine."""

from __future__ import annotations

from collections import Counter
from itertools import count
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from limrank_ir import EngineError
from limrank_ir.engines import vllm as vllm_engine
from limrank_ir.engines.server import ServerEngine
from limrank_ir.engines.servers.connection import Fault
from limrank_ir.engines.servers.llama_cpp import LlamaCpp
from limrank_ir.engines.servers.wire import Generated as WireGenerated
from limrank_ir.engines.tokens import PromptTokenizer, Tokens
from limrank_ir.engines.vllm import VllmEngine
from limrank_ir.engines.vllm_requests import Request, ended, generated, written
from limrank_ir.models import resolve
from limrank_ir.prompts import RANK1
from limrank_ir.verdict import Reading, Written
from tests.label_server import KINDS, Model, serving

SMOL = resolve("limrank-smol-untrained")
QUERY = "how do I copy a file?"
EOS = 2
SAYS = "<think>cp?</think> <answer>[2] > [1]</answer> and so on"
STOP = ("</answer>",)


@pytest.fixture(scope="module")
def plain(smol_folder):
    return AutoTokenizer.from_pretrained(smol_folder)


@pytest.fixture(scope="module")
def tokenizer(plain):
    return PromptTokenizer(plain, RANK1)


def prompts(number=1):
    return [RANK1.render(QUERY, f"passage {place}", think=True) for place in range(number)]


@pytest.mark.parametrize("kind", ["vllm", "sglang", "openai"])
@pytest.mark.parametrize("end", ["stop", "budget", "eos"])
def test_servers_write(kind, end, plain, tokenizer):
    ids = tokenizer.encode_text(SAYS).tolist()
    budget = 5 if end == "budget" else 60
    model = Model(SMOL.name, plain)
    model.generate = lambda prompt, labels, most, force=None: [*ids, *([EOS] if kind != "openai" else [])][:most]
    with serving(kind, model) as server:
        engine = ServerEngine(SMOL, server.url)
        options = {"budget": budget, "stop": STOP if end == "stop" else ()}
        found = dict(pair for batch in engine.write(prompts(3), done={1}, **options) for pair in batch)
    assert set(found) == {0, 2}
    (tokens,) = tokenizer.encode(prompts(), 4000)
    whole = {"stop": SAYS[: SAYS.index(" and")], "budget": tokenizer.decode(ids[:5]), "eos": SAYS}[end]
    assert (found[0].text, found[0].finish) == (whole, end)
    assert found[0].prompt_tokens == len(tokens.ids) and found[0].cut_tokens == 0
    if end != "stop":
        assert found[0].written_tokens == (5 if end == "budget" else len(ids) + (kind != "openai"))
    assert engine.tokens == sum(each.prompt_tokens + each.written_tokens for each in found.values())


@pytest.mark.parametrize("logprobs", [None, {"tokens": [], "token_logprobs": [], "top_logprobs": []}])
def test_an_empty_answer_is_an_answer_where_the_model_writes_but_not_where_it_is_read(logprobs, plain, monkeypatch):
    def empty(model, body, fault):
        choice = {"text": "", "logprobs": logprobs, "finish_reason": "stop"}
        return {"model": model.name, "choices": [choice], "usage": {"prompt_tokens": 9}}

    monkeypatch.setitem(KINDS, "openai", (*KINDS["openai"][:2], empty))
    with serving("openai", Model(SMOL.name, plain)) as server:
        engine = ServerEngine(SMOL, server.url, engine_options={"retries": 0})
        (((_, found),),) = engine.write(prompts(), budget=9, stop=STOP)
        assert (found.text, found.written_tokens, found.finish) == ("", 0, "eos")
        with pytest.raises(EngineError, match="an answer without log-probabilities"):
            list(engine.read_labels(prompts(), RANK1.labels, think=False, budget=1))


def test_an_empty_answer_of_llama_cpp():
    ended = {"stop_type": "eos", "tokens": [], "tokens_evaluated": 9}
    assert LlamaCpp().answer(ended) == WireGenerated([], [], False, 9)
    with pytest.raises(Fault, match="without tokens"):
        LlamaCpp().answer({**ended, "stop_type": "limit"})


def test_a_server_is_asked_again_after_a_fault(plain, tokenizer):
    model = Model(SMOL.name, plain)
    model.generate = lambda *_: [*tokenizer.encode_text(SAYS).tolist(), EOS]
    with serving("vllm", model, {"429": 0.4, "reset": 0.4}) as server:
        engine = ServerEngine(SMOL, server.url)
        found = dict(pair for batch in engine.write(prompts(6), budget=60, stop=STOP) for pair in batch)
        assert len(found) == 6 and len({each.text for each in found.values()}) == 1 and server.met


def output(ids, finish_reason="stop", stop_reason=None, name="0", text=""):
    made = SimpleNamespace(
        token_ids=ids, finish_reason=finish_reason, stop_reason=stop_reason, text=text, logprobs=[{}] * len(ids)
    )
    return SimpleNamespace(request_id=name, prompt_token_ids=[1, 2, 3], outputs=[made], finished=True)


def test_what_vllm_generated(tokenizer):
    ids = tokenizer.encode_text(SAYS).tolist()
    answer = SAYS[: SAYS.index(" and")]
    assert generated(output(ids, stop_reason="</answer>"), STOP, tokenizer) == (answer, len(ids), "stop")
    assert generated(output([*ids, EOS]), STOP, tokenizer) == (SAYS, len(ids) + 1, "eos")
    assert generated(output(ids[:4], "length"), STOP, tokenizer) == (tokenizer.decode(ids[:4]), 4, "budget")
    with pytest.raises(EngineError, match=r"gave up a prompt of 3 tokens \(abort\)"):
        generated(output(ids, "abort"), STOP, tokenizer)
    request = Request(0, Tokens([1, 2, 3], 7))
    assert written(request, output(ids[:4], "length"), STOP, tokenizer) == Written(
        tokenizer.decode(ids[:4]), 3, 4, "budget", 7
    )
    thought = ended(output(ids, stop_reason="</answer>"), STOP, tokenizer)
    assert (thought.text, thought.finish) == ("<think>cp?</think> <answer>[2] > [1]", "verdict")


class FakeVllm:
    """Answers the requests that it has, two at a step, the last ones first."""

    def __init__(self, answer):
        self.answer, self.waiting, self.params = answer, {}, Counter()

    def add_request(self, name, prompt, params, *, lora_request, priority):
        self.waiting[name] = (prompt["prompt_token_ids"], params)
        self.params[params] += 1

    def step(self):
        names = list(self.waiting)[-2:]
        return [self.answer(name, *self.waiting.pop(name)) for name in names]

    def abort_request(self, names):
        for name in names:
            self.waiting.pop(name)


@pytest.fixture
def vllm(monkeypatch, tokenizer):
    """The engine around a vLLM that is not there."""
    monkeypatch.setattr(vllm_engine, "text_params", lambda stops, budget, labels=(): ("text", tuple(stops), budget))
    monkeypatch.setattr(vllm_engine, "label_params", lambda labels: ("labels", tuple(labels)))
    monkeypatch.setattr(vllm_engine, "refusals", lambda: (ValueError,))

    def make(answer, max_length=400):
        engine = object.__new__(VllmEngine)
        engine.model, engine._numbers, engine._arrived, engine._counted, engine.tokens = SMOL, count(), {}, {}, 0
        started = SimpleNamespace(engine=FakeVllm(answer), tokenizer=tokenizer, fmt=RANK1, adapter=None, raw=False)
        engine.__dict__ |= {"max_length": max_length, "_started": started}
        return engine

    return make


def test_vllm_writes(vllm, tokenizer):
    ids = tokenizer.encode_text(SAYS).tolist()
    engine = vllm(lambda name, prompt, params: output(ids, stop_reason="</answer>", name=name))
    found = dict(pair for batch in engine.write(prompts(5), budget=60, stop=STOP, done={3}) for pair in batch)
    assert set(found) == {0, 1, 2, 4} and {each.text for each in found.values()} == {SAYS[: SAYS.index(" and")]}
    assert engine._started.engine.params == {("text", STOP, 60): 4}
    (tokens,) = tokenizer.encode(prompts(), 400)
    assert found[0] == Written(found[0].text, len(tokens.ids), len(ids), "stop", 0)
    assert list(engine.write(prompts(2), budget=60, done={0, 1})) == []


def test_vllm_is_left_without_requests_when_no_one_waits_any_more(vllm):
    engine = vllm(lambda name, prompt, params: output([5], "length", name=name))
    batches = engine.write(prompts(6), budget=1)
    assert len(next(batches)) == 2
    batches.close()
    assert not engine._started.engine.waiting and not engine._arrived


def test_vllm_still_forces_the_end_of_a_thought(vllm, tokenizer):
    true, false = tokenizer.label_tokens(RANK1.labels)

    def answer(name, prompt, params):
        made = output([20, 21], "length", name=name) if params[0] == "text" else output([5], "length", name=name)
        made.outputs[0].logprobs = [
            {token: SimpleNamespace(logprob=-float(len(prompt))) for token in (true, false)}
        ] * len(made.outputs[0].token_ids)
        return made

    engine = vllm(answer)
    found = dict(pair for batch in engine.read_labels(prompts(3), RANK1.labels, think=True, budget=2) for pair in batch)
    forced = tokenizer.encode([RANK1.forced(prompts()[0], tokenizer.decode([20, 21]).strip())], 400)[0]
    length = len(forced.ids)
    thought = tokenizer.decode([20, 21]).strip()
    assert found[0] == Reading((-float(length),) * 2, thought, length, 2, "budget", 0) and len(found) == 3
    assert [params[0] for params in engine._started.engine.params] == ["text", "labels"]
