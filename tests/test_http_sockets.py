"""Real sockets: clients that disconnect, are slow, or send too much, and how that affects others."""

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
from limrank_ir.http import Limits, body_limits, create_app

from .serving import counting, served, until

HEAD = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def request_body(documents):
    return json.dumps({"query": "q", "documents": documents}).encode()


def open_request(address, body, length=None):
    """Send a request, or the beginning of one, and return the connection."""
    connection = socket.create_connection(address)
    connection.sendall(HEAD % (len(body) if length is None else length) + body)
    return connection


def ask(address, method, path, body=None):
    """Send a request and return the status and the content."""
    with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def waiting(address):
    return json.loads(ask(address, "GET", "/health")[1])["waiting"]


def test_a_disconnect_stops_the_running_work_of_its_client():
    limrank = counting(batch=1, seconds=0.01)
    with served(create_app(limrank, limits=Limits(batch=1000))) as address:
        client = open_request(address, request_body([f"word {number}" for number in range(900)]))
        until(lambda: limrank.engine.read)
        client.close()
        until(lambda: waiting(address) == 0, seconds=1)
        started = time.monotonic()
        status, _ = ask(address, "POST", "/v1/rerank", request_body(["one", "two"]))
        assert status == 200 and time.monotonic() - started < 2
        assert len(limrank.engine.read) < 200
        figures = ask(address, "GET", "/metrics")[1].decode()
        assert "limrank_dropped_pairs_total 900.0" in figures
        assert 'limrank_requests_total{path="/v1/rerank",status="499"} 1.0' in figures


def test_clients_that_disconnect_before_their_turn_leave_the_queue_at_once():
    limrank = counting(batch=1)
    limrank.engine.gate.clear()
    with served(create_app(limrank)) as address:
        first = open_request(address, request_body(["first"]))
        until(lambda: waiting(address) == 1)
        gone = [open_request(address, request_body([f"gone {number}" for number in range(100)])) for _ in range(3)]
        until(lambda: waiting(address) == 301)
        for client in gone:
            client.close()
        until(lambda: waiting(address) == 1, seconds=1)  # although the model is paused
        limrank.engine.gate.set()
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        first.close()
        assert ask(address, "POST", "/v1/rerank", request_body(["last"]))[0] == 200
        assert limrank.engine.read == ["first", "last"]


def test_a_disconnect_in_the_middle_of_a_body_is_not_an_error(caplog):
    with served(create_app(counting())) as address, caplog.at_level(logging.INFO):
        open_request(address, b'{"query": "q", "docu', length=1000).close()
        until(lambda: b'status="499"} 1.0' in ask(address, "GET", "/metrics")[1], seconds=2)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_body_that_never_ends_times_out(monkeypatch):
    monkeypatch.setattr(body_limits, "TIMEOUT", 0.2)
    with served(create_app(counting())) as address, open_request(address, b'{"query"', length=1000) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_slow_clients_cannot_fill_the_memory(monkeypatch):
    monkeypatch.setattr(body_limits, "MAX_IN_MEMORY", 3)
    with served(create_app(counting(), limits=Limits(bytes=1000))) as address:
        slow = [open_request(address, b" " * 900, length=1000) for _ in range(3)]
        until(lambda: ask(address, "POST", "/v1/rerank", request_body(["word " * 100]))[0] == 429)
        for client in slow:
            client.close()
        until(lambda: ask(address, "POST", "/v1/rerank", request_body(["word " * 100]))[0] == 200)


@pytest.mark.parametrize("length", ["abc", "-1", "1, 2"])
def test_an_invalid_content_length(length):
    with served(create_app(counting())) as address, socket.create_connection(address) as client:
        client.sendall(f"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{{}}".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 400")


def test_a_client_that_sends_too_much_gets_the_reason():
    with served(create_app(counting(), limits=Limits(bytes=1_000_000))) as address:
        status, content = ask(address, "POST", "/v1/rerank", b" " * 8_000_000)
        assert status == 413 and b"longer than 1000000 bytes" in content


HUGE = {
    "one text": request_body(["word " * 1_900_000]),
    "many texts": request_body(["word " * 1900] * 1000),
    "escapes": b'{"query": "q", "documents": ["' + rb"\u00e9\ud83d\ude00\ud83d" * 400_000 + b'"]}',
    "lists": b'{"query": "q", "documents": ["a"], "z": [' + b"[]," * 3_000_000 + b"1]}",
    "numbers": b'{"query": "q", "documents": [' + b"1," * 4_000_000 + b"1]}",
    "an awkward text": request_body(["a <" + " " * 1_000_000 + "x", "<|" * 500_000, "<think" * 160_000]),
}


@pytest.mark.parametrize("name", HUGE)
def test_others_are_answered_while_a_huge_request_is_read(name):
    body = HUGE[name][:-1] + b', "return_documents": true}'
    answers = []
    with served(create_app(counting())) as address:
        request = threading.Thread(target=lambda: answers.append(ask(address, "POST", "/v1/rerank", body)[0]))
        request.start()
        worst = 0.0
        while request.is_alive():
            started = time.monotonic()
            waiting(address)
            worst = max(worst, time.monotonic() - started)
            time.sleep(0.01)
    assert answers == [400 if name == "numbers" else 200]
    assert worst < 1.5  # even on two busy cores


@pytest.mark.parametrize("step", ["read", "write"])
def test_others_are_answered_while_texts_are_read_or_written(monkeypatch, step):
    began = threading.Event()
    original = getattr(limrank_ir.http.app, step)

    def slow(*arguments):
        began.set()
        time.sleep(1)
        return original(*arguments)

    monkeypatch.setattr(limrank_ir.http.app, step, slow)
    with served(create_app(counting())) as address:
        request = threading.Thread(target=ask, args=(address, "POST", "/v1/rerank", request_body(["one"])))
        request.start()
        assert began.wait(10)
        started = time.monotonic()
        waiting(address)
        assert time.monotonic() - started < 0.5
        request.join()


# The command


def serve(*options, **environment):
    result = CliRunner().invoke(cli, ["serve", *options], env=environment)
    return result.exit_code, result.output


def test_a_port_in_use_is_reported_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = time.monotonic()
        status, output = serve("--port", str(port))
    assert status == 2 and f"port {port} on 127.0.0.1 is in use" in output and "serves" not in output
    assert len(output.splitlines()) == 1 and time.monotonic() - started < 3


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "::2", "a" * 300])
def test_a_host_that_is_not_this_machine(host):
    status, output = serve("--host", host, "--port", "0")
    assert status == 2 and "not an address of this machine" in output and len(output.splitlines()) == 1


@pytest.mark.parametrize("token", ["", " ", " secret", "secret\n", "sec\x7fret"])
def test_an_unusable_token_is_refused(token):
    for status, output in (serve("--token", token), serve(LIMRANK_TOKEN=token)):
        assert status == 2 and "token" in output and len(output.splitlines()) == 1


def test_a_bad_store_is_reported_at_the_start(tmp_path):
    status, output = serve("--store", str(tmp_path), "--port", "0")
    assert status == 2 and "is a folder" in output
