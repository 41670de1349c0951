"""The chat client and the journal: server faults are retried or reported, and answers are kept."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys

import pytest

from limrank_ir import EngineError, InputError, LimRankError
from limrank_ir.llm.chat import Chat, Server, check_key
from limrank_ir.llm.journal import Journal, request_key
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
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_servers_filter_is_an_answer(error, status):
    with serving(lambda asked: {"error": error}, status=status) as server:
        assert asked(server.url) == {"refused": "filtered"}


def test_invalid_answers_are_retried_as_often_as_configured():
    with serving(lambda body: {"choices": None}) as server:
        with pytest.raises(EngineError, match="an answer without choices, 3 times"):
            asked(server.url, retries=2)
        assert len(server.asked) == 3


def test_an_unreachable_server_is_reported():
    with pytest.raises(LimRankError, match="cannot be reached"):
        asked("http://127.0.0.1:9/v1", retries=0)


def test_a_missing_key_is_reported_before_the_first_request(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LimRankError, match="gpt-4o: no API key; set OPENAI_API_KEY"):
        check_key(Server(), "gpt-4o")
    check_key(Server("http://localhost:8000/v1"), "mine")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    check_key(Server(), "gpt-4o")
    monkeypatch.setenv("OPENAI_API_KEY", "ключ")
    with pytest.raises(InputError, match="OPENAI_API_KEY has characters that no API key has"):
        check_key(Server(), "gpt-4o")


# The journal


def test_answers_are_kept(tmp_path):
    journal = Journal(tmp_path / "deep" / "a.sqlite")
    key = journal.put(BODY, said("é\ud83d"))
    assert journal.put(BODY, said("another")) == key == request_key(dict(reversed(BODY.items())))
    journal.close()
    again = Journal(tmp_path / "deep" / "a.sqlite")
    assert again.get(key) == said("é\ud83d") and len(again) == 1
    assert again.get("0" * 32) is None and again.known([key, "x"]) == {key}
    assert list(again) == [(BODY, said("é\ud83d"))]


def test_many_answers_at_once_are_kept_like_one_by_one(tmp_path):
    bodies = [{**BODY, "seed": number} for number in range(3)]
    journal = Journal(tmp_path / "a.sqlite")
    journal.put(bodies[0], said("kept"))
    journal.put(bodies[1], {"error": "no"})
    journal.put_all((body, said("new")) for body in bodies)
    assert [journal.get(request_key(body)) for body in bodies] == [said("kept"), said("new"), said("new")]
    journal.put_all([])
    assert len(journal) == 3


def test_an_answer_replaces_a_fault(tmp_path):
    journal = Journal(tmp_path / "a.sqlite")
    for fault in ({"error": "no"}, {"choices": [None]}, {"choices": [{"message": None}]}):  # from older versions
        journal.put(BODY, fault)
        assert journal.get(request_key(BODY)) == fault
    journal.put(BODY, said("hi"))
    journal.put(BODY, {"error": "no"})
    assert journal.get(request_key(BODY)) == said("hi") and len(journal) == 1


def test_a_file_of_another_kind_is_left_unchanged(tmp_path):
    (tmp_path / "notes.txt").write_text("my notes, which are longer than a header " * 10)
    with sqlite3.connect(tmp_path / "other.sqlite") as database:
        database.execute("CREATE TABLE mine (x)")
    kinds = {"notes.txt": "is not a LimRank journal", "other.sqlite": "is not a LimRank journal", ".": "is a folder"}
    for name, message in kinds.items():
        before = (tmp_path / name).read_bytes() if name != "." else None
        with pytest.raises(LimRankError, match=message):
            Journal(tmp_path / name)
        assert before is None or (tmp_path / name).read_bytes() == before


def test_an_answer_survives_a_kill(tmp_path):
    code = (
        "import os, signal; from limrank_ir.llm.journal import Journal; "
        f"journal = Journal({str(tmp_path / 'a.sqlite')!r}); "
        "assert journal._database.execute('PRAGMA synchronous').fetchone() == (2,); "  # waits for the disk
        f"journal.put({BODY!r}, {{'choices': [1]}}); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert Journal(tmp_path / "a.sqlite").get(request_key(BODY)) == {"choices": [1]}
