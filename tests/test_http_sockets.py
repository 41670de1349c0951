"""Real sockets: clients that go away, that are slow or say too much, and what others notice of them."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from contextlib import closing

import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'limrank-ir[serve]'")

from typer.testing import CliRunner

import limrank_ir.http.app
from limrank_ir.cli.app import app as cli
from limrank_ir.http import Limits, create_app
from limrank_ir.http import body as http_body

from .serving import counting, served, until

HEAD = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def asked(documents):
    return json.dumps({"query": "q", "documents": documents}).encode()


def open_request(place, body, length=None):
    """A connection over which a request was sent, or the beginning of one."""
    connection = socket.create_connection(place)
    connection.sendall(HEAD % (len(body) if length is None else length) + body)
    return connection


def ask(place, method, path, body=None):
    """A status and what came with it."""
    with closing(http.client.HTTPConnection(*place, timeout=30)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def waiting(place):
    return json.loads(ask(place, "GET", "/health")[1])["waiting"]


def test_a_client_that_goes_away_takes_its_running_work_along():
    limrank = counting(batch=1, seconds=0.01)
    with served(create_app(limrank, limits=Limits(batch=1000))) as place:
        client = open_request(place, asked([f"word {number}" for number in range(900)]))
        until(lambda: limrank.engine.read)
        client.close()
        until(lambda: waiting(place) == 0, seconds=1)
        started = time.monotonic()
        status, _ = ask(place, "POST", "/v1/rerank", asked(["one", "two"]))
        assert status == 200 and time.monotonic() - started < 2
        assert len(limrank.engine.read) < 200
        figures = ask(place, "GET", "/metrics")[1].decode()
        assert "limrank_dropped_pairs_total 900.0" in figures
        assert 'limrank_requests_total{path="/v1/rerank",status="499"} 1.0' in figures


def test_clients_that_go_away_before_their_turn_leave_the_queue_at_once():
    limrank = counting(batch=1)
    limrank.engine.gate.clear()
    with served(create_app(limrank)) as place:
        first = open_request(place, asked(["first"]))
        until(lambda: waiting(place) == 1)
        gone = [open_request(place, asked([f"gone {number}" for number in range(100)])) for _ in range(3)]
        until(lambda: waiting(place) == 301)
        for client in gone:
            client.close()
        until(lambda: waiting(place) == 1, seconds=1)  # the model has not moved meanwhile
        limrank.engine.gate.set()
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        first.close()
        assert ask(place, "POST", "/v1/rerank", asked(["last"]))[0] == 200
        assert limrank.engine.read == ["first", "last"]


def test_a_client_that_goes_away_within_its_body_is_no_error(caplog):
    with served(create_app(counting())) as place, caplog.at_level(logging.INFO):
        open_request(place, b'{"query": "q", "docu', length=1000).close()
        until(lambda: b'status="499"} 1.0' in ask(place, "GET", "/metrics")[1], seconds=2)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_body_that_does_not_come_to_its_end(monkeypatch):
    monkeypatch.setattr(http_body, "SECONDS", 0.2)
    with served(create_app(counting())) as place, open_request(place, b'{"query"', length=1000) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_slow_clients_hold_no_more_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(http_body, "HELD", 3)
    with served(create_app(counting(), limits=Limits(bytes=1000))) as place:
        slow = [open_request(place, b" " * 900, length=1000) for _ in range(3)]
        until(lambda: ask(place, "POST", "/v1/rerank", asked(["word " * 100]))[0] == 429)
        for client in slow:
            client.close()
        until(lambda: ask(place, "POST", "/v1/rerank", asked(["word " * 100]))[0] == 200)


@pytest.mark.parametrize("length", ["abc", "-1", "1, 2"])
def test_a_length_that_is_none(length):
    with served(create_app(counting())) as place, socket.create_connection(place) as client:
        client.sendall(f"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{{}}".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 400")


def test_who_sends_too_much_is_told_so():
    with served(create_app(counting(), limits=Limits(bytes=1_000_000))) as place:
        status, said = ask(place, "POST", "/v1/rerank", b" " * 8_000_000)
        assert status == 413 and b"longer than 1000000 bytes" in said


HUGE = {
    "one text": asked(["word " * 1_900_000]),
    "many texts": asked(["word " * 1900] * 1000),
    "escapes": b'{"query": "q", "documents": ["' + rb"\u00e9\ud83d\ude00\ud83d" * 400_000 + b'"]}',
    "lists": b'{"query": "q", "documents": ["a"], "z": [' + b"[]," * 3_000_000 + b"1]}",
    "texts that are none": b'{"query": "q", "documents": [' + b"1," * 4_000_000 + b"1]}",
    "an awkward text": asked(["a <" + " " * 1_000_000 + "x", "<|" * 500_000, "<think" * 160_000]),
}


@pytest.mark.parametrize("name", HUGE)
def test_others_are_answered_while_a_huge_request_is_read(name):
    body = HUGE[name][:-1] + b', "return_documents": true}'
    answers = []
    with served(create_app(counting())) as place:
        request = threading.Thread(target=lambda: answers.append(ask(place, "POST", "/v1/rerank", body)[0]))
        request.start()
        worst = 0.0
        while request.is_alive():
            started = time.monotonic()
            waiting(place)
            worst = max(worst, time.monotonic() - started)
            time.sleep(0.01)
    assert answers == [400 if name == "texts that are none" else 200]
    assert worst < 1.5  # on two cores that others use, too


@pytest.mark.parametrize("step", ["read", "write"])
def test_others_are_answered_while_texts_are_read_or_written(monkeypatch, step):
    began, true = threading.Event(), getattr(limrank_ir.http.app, step)

    def slow(*arguments):
        began.set()
        time.sleep(1)
        return true(*arguments)

    monkeypatch.setattr(limrank_ir.http.app, step, slow)
    with served(create_app(counting())) as place:
        request = threading.Thread(target=ask, args=(place, "POST", "/v1/rerank", asked(["one"])))
        request.start()
        assert began.wait(10)
        started = time.monotonic()
        waiting(place)
        assert time.monotonic() - started < 0.5
        request.join()


# The command


def serve(*options, **environment):
    result = CliRunner().invoke(cli, ["serve", *options], env=environment)
    return result.exit_code, result.output


def test_a_port_in_use_is_said_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = time.monotonic()
        status, said = serve("--port", str(port))
    assert status == 2 and f"port {port} of 127.0.0.1 is in use" in said and "serves" not in said
    assert len(said.splitlines()) == 1 and time.monotonic() - started < 3


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "::2", "a" * 300])
def test_a_host_that_is_not_here(host):
    status, said = serve("--host", host, "--port", "0")
    assert status == 2 and "no address of this machine" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("token", ["", " ", " secret", "secret\n", "sec\x7fret"])
def test_a_token_that_would_let_all_in_or_nobody(token):
    for status, said in (serve("--token", token), serve(LIMRANK_TOKEN=token)):
        assert status == 2 and "token" in said and len(said.splitlines()) == 1


def test_a_store_that_cannot_be_one_is_the_commands_fault_and_not_a_requests(tmp_path):
    status, said = serve("--store", str(tmp_path), "--port", "0")
    assert status == 2 and "is a folder" in said
