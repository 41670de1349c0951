"""What the server's tests share: a quick engine that can be held, and a real server in a thread."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from limrank_ir import LimRank
from limrank_ir.verdict import Verdict


class WordCount:
    """An engine that prefers long passages, and keeps what it read. It goes on from batch to batch when it may."""

    identity = "word count"

    def __init__(self, *, batch=1000, seconds=0.0):
        self.batch, self.seconds, self.read, self.gate = batch, seconds, [], threading.Event()
        self.gate.set()

    def judge(self, prompts, *, think, budget, done=frozenset()):
        for start in range(0, len(prompts), self.batch):
            assert self.gate.wait(20)
            time.sleep(self.seconds)
            part = list(enumerate(prompts))[start : start + self.batch]
            self.read += [prompt.passage for _, prompt in part]
            yield [
                (index, Verdict(len(prompt.passage.split()) - 3.0, None, 10, 0, "verdict")) for index, prompt in part
            ]


def counting(**options):
    return LimRank(engine=WordCount(**options))


@contextmanager
def served(app):
    """The address of a real server."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield place.getsockname()
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def until(true, seconds=10):
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
