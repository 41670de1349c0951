"""Servers that fail: nothing is lost, nothing is asked twice, and every error says what to do."""

from __future__ import annotations

import logging
import socket
import time

import pytest
from transformers import AutoTokenizer

from limrank_ir import EngineError, InputError
from limrank_ir.engines.server import ServerEngine
from limrank_ir.engines.servers.connection import server_urls
from limrank_ir.models import resolve
from limrank_ir.prompts import prompt_format
from tests.label_server import Model, says, serving

FMT = prompt_format("rank1")
SMOL = resolve("limrank-smol-untrained")
NAME = "limrank-smol-untrained"
FAULTS = dict.fromkeys(("429", "500", "cut", "reset", "nan", "missing"), 0.02) | {"hang": 0.004, "drip": 0.004}


@pytest.fixture(scope="module")
def model(smol_folder):
    return Model(NAME, AutoTokenizer.from_pretrained(smol_folder))


def prompts_of(queries, passages):
    pairs = [(f"query {query}", f"passage {number} of it") for query in range(queries) for number in range(passages)]
    return [FMT.render(*pair) for pair in pairs]


def read(url, prompts, **options):
    engine = ServerEngine(SMOL, url, engine_options=options)
    found = {}
    for batch in engine.read_labels(prompts, FMT.labels, think=False, budget=1):
        for index, reading in batch:
            assert index not in found
            found[index] = reading
    return found


def check(found, prompts, model):
    labels = [model.tokenizer.encode(label)[0] for label in FMT.labels]
    assert sorted(found) == list(range(len(prompts)))
    for index, prompt in enumerate(prompts):
        ids = model.tokenizer.encode(prompt.text)
        assert found[index].logprobs == pytest.approx([says(ids, label) for label in labels])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_thousand_pairs_through_all_faults(model):
    prompts = prompts_of(10, 100)
    with serving("vllm", model, FAULTS, seconds=9) as server:
        check(read(server.url, prompts, timeout=5), prompts, model)
    assert set(server.met.values()) == set(FAULTS)
    asked = {name: tries for name, tries in server.tries.items() if "logit_bias" not in name}
    assert len(asked) == 1000
    for name, tries in asked.items():
        assert tries == (2 if server.met.get(name, "missing") != "missing" else 1), server.met.get(name)
    assert server.most <= 64


def test_retry_after_is_honored(model):
    with serving("vllm", model, {"429": 1.0}, retry_after="2") as server:
        started = time.monotonic()
        read(server.url, prompts_of(1, 1))
        assert time.monotonic() - started > 2


@pytest.mark.parametrize(
    ("fault", "options", "message"),
    [
        (
            "429",
            {},
            r"too many requests fault 429 \(status 429\); lower the concurrency, or what was judged is in the store",
        ),
        ("500", {}, r"fails fault 500 \(status 500\); check its log; what was judged is in the store"),
        ("cut", {}, "an answer that is not JSON, once"),
        ("nan", {}, "an answer with the log-probability nan, once"),
        ("hang", {"timeout": 1}, "no answer within 1 seconds, once"),
        ("drip", {"timeout": 1}, "no answer within 1 seconds, once"),
        ("reset", {}, r"cannot be reached \(.*\); check that it runs"),
    ],
)
def test_lasting_faults_are_one_line(fault, options, message, model):
    with serving("vllm", model, {fault: 1.0}) as server, pytest.raises(EngineError, match=message) as raised:
        read(server.url, prompts_of(1, 1), retries=0, **options)
    assert "\n" not in str(raised.value) and server.url in str(raised.value)


def test_a_server_that_is_not_there():
    with pytest.raises(EngineError, match=r"cannot be reached \(.*\); check that it runs"):
        read(f"http://127.0.0.1:{free_port()}", prompts_of(1, 1), retries=0)


def test_what_was_read_is_handed_out_before_the_error(model):
    prompts = prompts_of(1, 30)
    with serving("vllm", model, delay=0.2) as server:
        engine = ServerEngine(SMOL, server.url, engine_options={"concurrency": 1, "retries": 0})
        batches = engine.read_labels(prompts, FMT.labels, think=False, budget=1)
        found = dict(next(batches))
    with pytest.raises(EngineError, match="what was judged is in the store"):
        for batch in batches:
            found.update(batch)
    assert 1 <= len(found) < 30


def test_the_others_take_over_from_a_server_that_dies(model, caplog):
    prompts = prompts_of(20, 5)
    with serving("vllm", model) as one, serving("vllm", model, {"reset": 1.0}) as two:
        with caplog.at_level(logging.WARNING, "limrank_ir"):
            check(read(f"{one.url},{two.url}", prompts, retries=0, concurrency=4), prompts, model)
        assert two.tries and len(one.tries) == 100
    (message,) = (record.getMessage() for record in caplog.records)
    assert "cannot be reached" in message and "the other servers take over its" in message


def test_a_server_that_is_down_from_the_start(model, caplog):
    prompts = prompts_of(8, 2)
    with serving("vllm", model) as server, caplog.at_level(logging.WARNING, "limrank_ir"):
        urls = f"http://127.0.0.1:{free_port()},{server.url}"
        check(read(urls, prompts, retries=0), prompts, model)
    assert len(caplog.records) <= 1


def test_different_servers_in_one_run_are_refused(model):
    refused = pytest.raises(InputError, match="servers of one run must be the same")
    with serving("vllm", model) as one, serving("sglang", model) as two, refused:
        read(f"{one.url},{two.url}", prompts_of(1, 1))


# Names of models


@pytest.mark.parametrize(
    ("served", "card", "options"),
    [
        (NAME, {}, {}),
        ("mine", {"root": "HuggingFaceTB/SmolLM2-135M-Instruct"}, {}),
        ("/models/SmolLM2-135M-Instruct.Q4_1.gguf", {}, {}),
        ("mine", {}, {"model": "mine"}),
    ],
)
def test_the_model_is_found_under_its_names(served, card, options, model):
    with serving("vllm", Model(served, model.tokenizer), card=card) as server:
        check(read(server.url, prompts_of(1, 1), **options), prompts_of(1, 1), model)


def test_another_model_is_refused(model):
    with serving("vllm", Model("gpt-2", model.tokenizer)) as server:
        named = r"serves gpt-2, not limrank-smol-untrained; .* engine_options=\{\"model\": 'gpt-2'\}"
        with pytest.raises(InputError, match=named):
            read(server.url, prompts_of(1, 1))
        with pytest.raises(InputError, match="serves gpt-2, not gpt-3; choose one of these"):
            read(server.url, prompts_of(1, 1), model="gpt-3")


def test_base_weights_are_not_a_model_with_an_adapter(model):
    with serving("vllm", Model("HuggingFaceTB/SmolLM2-135M-Instruct", model.tokenizer)) as server:
        engine = ServerEngine(resolve("limrank-smol"), server.url)
        with pytest.raises(InputError, match="not limrank-smol"):
            _ = engine.identity


# Keys and options


def test_the_key_comes_from_the_environment_and_is_never_shown(model, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with serving("vllm", model, key="secret-7") as server:
        with pytest.raises(InputError, match="the key in LIMRANK_API_KEY is missing"):
            read(server.url, prompts_of(1, 1))
        monkeypatch.setenv("LIMRANK_API_KEY", "secret-8")
        with pytest.raises(InputError, match="LIMRANK_API_KEY is refused") as raised:
            read(server.url, prompts_of(1, 1))
        assert "secret-8" not in str(raised.value)
        monkeypatch.setenv("LIMRANK_API_KEY", "secret-7")
        read(server.url, prompts_of(1, 1))
        assert "secret" not in caplog.text + repr(ServerEngine(SMOL, server.url))
    monkeypatch.setenv("LIMRANK_API_KEY", "ключ")
    with pytest.raises(InputError, match="characters that no API key has"):
        read(server.url, prompts_of(1, 1))


def test_a_key_in_a_url_is_refused_and_not_repeated():
    for url in ("http://me:secret@host:8000", "http://host?key=secret"):
        with pytest.raises(InputError, match="the URL of host: leave the key out of it") as raised:
            server_urls(url)
        assert "secret" not in str(raised.value)
    assert server_urls("http://a:1/v1/, https://b/x/v1,http://a:1") == ["http://a:1", "https://b/x"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 1}, "engine option 'speed': servers have only model, concurrency, timeout, retries"),
        ({"concurrency": 0}, "concurrency is 0; it must be a whole number of at least 1"),
        ({"retries": 1.5}, "retries is 1.5; it must be a whole number of at least 0"),
        ({"timeout": "x"}, "timeout is 'x'"),
        ({"model": 3}, "model is 3; it must be a name"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(InputError, match=message):
        ServerEngine(SMOL, "http://host", engine_options=options)
