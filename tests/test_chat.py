"""The chat client and the journal: faults of servers are overcome or named, and what was answered stays."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys

import pytest

from limrank_ir import LimRankError
from limrank_ir.chat import Chat, Server, check_key
from limrank_ir.journal import Journal, request_key
from tests.chat_server import said, serving

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def asked(url, body=BODY, **settings):
    async def main():
        async with Chat(Server(url, **settings)) as chat:
            return await chat.complete(body)

    return asyncio.run(main())


@pytest.mark.parametrize("fault", ["429", "500", "cut", "drop", "slow"])
def test_a_fault_that_passes_is_overcome(fault):
    with serving(lambda body: said("hi"), {fault: 1.0}) as server:
        assert asked(server.url)["choices"][0]["message"]["content"] == "hi"
        assert server.met == {fault: 1}
        assert len(server.asked) == (1 if fault == "slow" else 2)


def test_all_fields_of_request_and_answer_arrive():
    body = {**BODY, "seed": 3, "response_format": {"type": "json_object"}, "an_option_of_vllm": 1}
    with serving(lambda body: said("hi", reasoning_content="because")) as server:
        assert asked(server.url, body)["choices"][0]["message"]["reasoning_content"] == "because"
        assert server.asked == [body]


STAY = {
    "500": r"m at http.*fault 500 \(status 500\); run the same command again later",
    "429": r"\(status 429\); lower the concurrency",
    "cut": "answers that are no JSON, 1 times",
}


@pytest.mark.parametrize("fault", STAY)
def test_faults_that_stay_are_named(fault):
    with serving(lambda body: said("hi"), {fault: 1.0}) as server, pytest.raises(LimRankError, match=STAY[fault]):
        asked(server.url, retries=0)


def test_nobody_there_is_named():
    with pytest.raises(LimRankError, match="cannot be reached"):
        asked("http://127.0.0.1:9/v1", retries=0)


def test_a_missing_key_is_named_before_anything_is_asked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LimRankError, match="gpt-4o: no API key; set OPENAI_API_KEY"):
        check_key(Server(), "gpt-4o")
    check_key(Server("http://localhost:8000/v1"), "mine")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    check_key(Server(), "gpt-4o")


# The journal


def test_answers_stay(tmp_path):
    journal = Journal(tmp_path / "deep" / "a.sqlite")
    key = journal.put(BODY, said("é\ud83d"))
    assert journal.put(BODY, said("another")) == key == request_key(dict(reversed(BODY.items())))
    journal.close()
    again = Journal(tmp_path / "deep" / "a.sqlite")
    assert again.get(key) == said("é\ud83d") and len(again) == 1
    assert again.get("0" * 32) is None and again.known([key, "x"]) == {key}
    assert list(again) == [(BODY, said("é\ud83d"))]


def test_what_is_no_journal_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("my notes, which are longer than a header " * 10)
    with sqlite3.connect(tmp_path / "other.sqlite") as database:
        database.execute("CREATE TABLE mine (x)")
    for name, message in (("notes.txt", "not a database"), ("other.sqlite", "is no journal"), (".", "is a folder")):
        before = (tmp_path / name).read_bytes() if name != "." else None
        with pytest.raises(LimRankError, match=message):
            Journal(tmp_path / name)
        assert before is None or (tmp_path / name).read_bytes() == before


def test_an_answer_survives_a_kill(tmp_path):
    code = (
        "import os, signal; from limrank_ir.journal import Journal; "
        f"Journal({str(tmp_path / 'a.sqlite')!r}).put({BODY!r}, {{'choices': [1]}}); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert Journal(tmp_path / "a.sqlite").get(request_key(BODY)) == {"choices": [1]}
