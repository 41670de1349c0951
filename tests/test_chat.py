"""The chat client: server faults are retried or reported."""

from __future__ import annotations

import asyncio
import time

import pytest

from limrank_ir import EngineError, InputError, LimRankError
from limrank_ir.llm.chat import Chat, Server, check_key
from tests.chat_server import said, serving

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def asked(url, body=BODY, **settings):
    async def main():
        async with Chat(Server(url, **settings)) as chat:
            return await chat.complete(body)

    return asyncio.run(main())


@pytest.mark.parametrize("fault", ["429", "500", "cut", "drop", "slow", "null", "hidden", "latin"])
def test_a_temporary_fault_is_retried(fault):
    with serving(lambda body: said("hi"), {fault: 1.0}) as server:
        assert asked(server.url)["choices"][0]["message"]["content"] == "hi"
        assert server.met == {fault: 1}
        assert len(server.asked) == (1 if fault == "slow" else 2)


def test_all_fields_of_request_and_answer_arrive():
    body = {**BODY, "seed": 3, "response_format": {"type": "json_object"}, "an_option_of_vllm": 1}
    with serving(lambda body: said("hi", reasoning_content="because")) as server:
        assert asked(server.url, body)["choices"][0]["message"]["reasoning_content"] == "because"
        assert server.asked == [body]


LASTING = {
    "500": r"m at http.*fault 500 \(status 500\); run the same command again later",
    "429": r"\(status 429\); lower the concurrency",
    "cut": r"an answer that is not a JSON object, once; check the server, then run the same command again later",
    "latin": "an answer that is not a JSON object, once",
    "null": "an answer without a message, once",
    "hidden": r"m at http.*: too many of sk-\.\.\. \(status 429\); lower the concurrency",
}


@pytest.mark.parametrize("fault", LASTING)
def test_lasting_faults_are_engine_errors_that_name_the_server(fault):
    with serving(lambda body: said("hi"), {fault: 1.0}) as server, pytest.raises(EngineError, match=LASTING[fault]):
        asked(server.url, retries=0)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (
            400,
            {"message": "no such parameter", "code": "invalid"},
            r"no such parameter \(status 400\); check the model",
        ),
        (400, "content\npolicy", r"content policy \(status 400\)"),
        (401, {"message": "no"}, "the key in OPENAI_API_KEY is refused"),
        (402, {"message": "Insufficient Balance"}, r"Insufficient Balance \(status 402\).*your account"),
        (403, {}, r"an error without a reason \(status 403\)"),
        (404, {"message": "gone"}, r"no such model \(gone"),
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_what_the_user_can_fix_is_an_input_error_without_retries(status, error, message, hidden):
    """Even if a gateway hides it in an answer with status 200."""
    body = {"error": error}
    if hidden:
        body = {"error": {**(error if isinstance(error, dict) else {"message": error}), "code": status}}
    with serving(lambda asked: body, status=200 if hidden else status) as server:
        with pytest.raises(InputError, match=message):
            asked(server.url, retries=3)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "filtered", "code": "content_filter"},
        {"message": "filtered", "code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"message": "filtered", "type": "content_policy_violation"},
        {"message": "filtered", "type": "invalid_request_error", "code": "invalid_prompt"},  # OpenAI's reasoning models
        {"message": "filtered", "type": "data_inspection_failed", "code": "data_inspection_failed"},  # Qwen
        {"message": "Content Exists Risk", "code": "invalid_request_error"},  # DeepSeek
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_servers_filter_is_an_answer(error, status):
    with serving(lambda asked: {"error": error}, status=status) as server:
        assert asked(server.url) == {"refused": error["message"]}


def test_invalid_answers_are_retried_as_often_as_configured():
    with serving(lambda body: {"choices": None}) as server:
        with pytest.raises(EngineError, match="an answer without choices, 3 times"):
            asked(server.url, retries=2)
        assert len(server.asked) == 3


def test_an_unreachable_server_is_reported():
    with pytest.raises(
        LimRankError, match=r"cannot be reached \(.*\); check its base_url and that it runs, then run the same"
    ):
        asked("http://127.0.0.1:9/v1", retries=0)


def test_a_server_that_is_too_slow_is_reported_with_what_to_change():
    def late(body):
        time.sleep(0.5)
        return said("hi")

    with (
        serving(late) as server,
        pytest.raises(EngineError, match=r"lower the concurrency, or raise the timeout \(0\.1 "),
    ):
        asked(server.url, retries=0, timeout=0.1)


def test_a_missing_key_is_reported_before_the_first_request(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LimRankError, match="gpt-4o: no API key; set OPENAI_API_KEY"):
        check_key(Server(), "gpt-4o")
    check_key(Server("http://localhost:8000/v1"), "mine")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    check_key(Server(), "mine")
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    check_key(Server(), "gpt-4o")
    monkeypatch.setenv("OPENAI_API_KEY", "ключ")
    with pytest.raises(InputError, match="OPENAI_API_KEY has characters that no API key has"):
        check_key(Server(), "gpt-4o")
