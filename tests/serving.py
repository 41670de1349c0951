"""Shared by the tests of the server: a fast engine that can be paused, and a real server in a thread."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from limrank_ir import LimRank
from tests.engines import reading


class WordCount:
    """An engine that prefers long passages and records what it read. It pauses while the gate is shut."""

    identity = "word count"

    def __init__(self, *, batch=1000, seconds=0.0):
        self.batch = batch
        self.seconds = seconds
        self.read = []
        self.gate = threading.Event()
        self.gate.set()

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        for start in range(0, len(prompts), self.batch):
            assert self.gate.wait(20)
            time.sleep(self.seconds)
            part = list(enumerate(prompts))[start : start + self.batch]
            self.read += [prompt.passage for _, prompt in part]
            yield [(index, reading(len(prompt.passage.split()) - 3.0, 10)) for index, prompt in part]


def counting(**options):
    return LimRank(engine=WordCount(**options))


@contextmanager
def served(app):
    """Run a real server and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def until(condition, seconds=10):
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
