"""A chat server on loopback: a function writes its answers, and it can have the faults that real servers have."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], dict[str, Any]]
FAULTS = ("429", "500", "cut", "slow", "drop", "refusal", "empty", "shape", "length", "null", "hidden", "latin")


def said(text: str, **message: Any) -> dict[str, Any]:
    """An answer in OpenAI's shape."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}}


@contextmanager
def serving(answer: Answer, faults: Mapping[str, float] | None = None, *, status: int = 200) -> Iterator[Any]:
    """Run a server for the length of a block.

    Args:
        answer: makes the answer from the body of a request.
        faults: fault to the share of requests whose first try it hits; the next try is answered.
        status: the HTTP status of the answers.

    Yields:
        The server, with ``url``, ``asked`` (bodies in order), and ``met`` (fault to how often).
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = server.fault(body)
            if fault == "drop":
                self.close_connection = True
                return
            if fault in ("429", "500"):
                return self.reply(int(fault), {"error": {"message": f"fault {fault}"}})
            if fault == "slow":
                time.sleep(0.2)
            found = answer(body)
            if fault == "refusal":
                found = said("", refusal="I cannot help with that.")
            elif fault == "empty":
                found = said("")
            elif fault == "shape":
                found = said('{"unasked": 1}')
            elif fault == "length":
                found["choices"][0]["finish_reason"] = "length"
            elif fault == "null":
                found["choices"][0]["message"] = None
            elif fault == "hidden":
                found = {"error": {"message": "too many of sk-0123456789", "code": 429}}
            elif fault == "latin":
                found = said("caf\xe9")
            self.reply(status, found, fault)

        def do_GET(self):  # the list of models
            self.reply(200, {"data": [{"id": "model"}]})

        def reply(self, status, value, fault=None):
            data = json.dumps(value, ensure_ascii=False).encode("latin-1" if fault == "latin" else "utf-8", "replace")
            data = data[: len(data) // 2] if fault == "cut" else data
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("retry-after-ms", "5")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *unused):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def fault(self, body):
            key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
            with lock:
                self.asked.append(body)
                self.tries[key] += 1
                first = self.tries[key] == 1 and len(body["messages"]) == 1
            draw, chosen = random.Random(key).random(), None
            for name, share in (faults or {}).items():
                draw -= share
                if draw < 0:
                    chosen = name
                    break
            if not first or chosen is None:
                return None
            with lock:
                self.met[chosen] += 1
            return chosen

    lock = threading.Lock()
    server: Any = Server(("127.0.0.1", 0), Handler)
    server.asked, server.tries, server.met = [], Counter(), Counter()
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def write(body: dict[str, Any]) -> dict[str, Any]:
    """Play the generator and the judge of the synthesizer. The same first message always gets the same answer.

    A passage helps if it has the code that its query needs, so nothing else gives its label away.
    """
    prompt = body["messages"][0]["content"]
    draw = random.Random(prompt)

    def text(words: int) -> str:
        return " ".join(["thing", *(f"word{draw.randrange(5000)}" for _ in range(words - 1))])

    if '- "daily"' in prompt:
        forms = re.findall(r"Form: (.*?) (\d+) to (\d+) words\. Rules something out: (yes|no)", prompt)
        queries = [
            text(draw.randint(int(least), int(most)) - 1)
            + (" not" if rules_out == "yes" else " so")
            + ("?" if "ends in a question mark" in about else "")
            for about, least, most, rules_out in forms
        ]
        return said(json.dumps(dict(zip(("daily", "expert"), queries, strict=True))))
    if prompt.startswith("Someone asks"):
        good, rest = f"code{draw.randrange(10**9)}", text(30)
        kinds = re.findall(r"^  \d+\. (.*?), from this kind of text", prompt, re.MULTILINE)
        contents = [f"code{draw.randrange(10**9)} {rest if kind == 'minimal pair' else text(30)}" for kind in kinds]
        plan = {
            "thought": text(120),
            "need": f"It needs {good}.",
            "positive": f"{good} {rest}",
            "negatives": [{"content": content, "flaw": text(10)} for content in contents],
        }
        return said(json.dumps(plan))
    if prompt.startswith("Write a passage"):
        words = int(re.search(r"about (\d+) words", prompt)[1])
        return said(f"{re.search('code[0-9]+', prompt)[0]} {text(words - 1)}")
    if prompt.startswith("How well"):
        return said(f"The passage is so.\n{draw.randrange(5)}")
    words = prompt.split("Passage: ")[1].split("\n")[0].split()
    thought = f"It says {' '.join(words[:8])}, and {text(int(re.search('in ([0-9]+) to', prompt)[1]))}"
    return said("true" if f"It needs {words[0]}." in prompt else "false", reasoning_content=thought)
