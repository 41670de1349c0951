"""A server on loopback that reads labels like vLLM, SGLang, or OpenAI, with the faults of real ones.

It checks requests as the real servers do: vLLM 0.32 (entrypoints/openai/completion/protocol.py), SGLang 0.5.23
(srt/managers/io_struct.py, srt/sampling/sampling_params.py, and the shape of srt/managers/tokenizer_manager.py).
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOP = 198  # the token that the model would say: a new line
SAMPLING = {
    *("max_new_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty"),
    *("presence_penalty", "stop", "no_stop_trim", "skip_special_tokens", "spaces_between_special_tokens"),
    "logit_bias",
}


def says(ids, token):
    """The log-probability of a token after others: any number, but always the same."""
    if token == TOP:
        return -0.25
    digest = hashlib.sha256(f"{list(ids)} {token}".encode()).digest()
    return -2.0 - 20.0 * int.from_bytes(digest[:4], "big") / 2**32


class Model:
    """What the server runs. `thought`: the tokens that it says before the likelier label; without it, one token."""

    def __init__(self, name, tokenizer, thought=()):
        self.name, self.tokenizer, self.thought = name, tokenizer, list(thought)

    def generate(self, ids, labels, most, force=None):
        """The tokens that it says."""
        if most == 1:
            return [TOP if force is None else force]
        made = [*self.thought, max(labels, key=lambda label: says([*ids, *self.thought], label))]
        return made[:most]


def vllm(model, body, fault):
    assert body["logprobs"] is not None and body["logprob_token_ids"] and isinstance(body["prompt"], list)
    assert body["repetition_penalty"] == 1 and body["temperature"] == 0 and body["include_stop_str_in_output"]
    ids, labels, force = body["prompt"], body["logprob_token_ids"], [int(key) for key in body.get("logit_bias", {})]
    made = model.generate(ids, labels, body["max_tokens"], *force)
    names = labels[:1] if fault == "missing" else labels
    steps = [
        {f"token_id:{token}": says([*ids, *made[:place]], token) for token in [own, *names]}
        for place, own in enumerate(made)
    ]
    if fault == "nan":
        steps[-1][f"token_id:{labels[0]}"] = float("nan")
    tokens = [f"token_id:{token}" for token in made]
    reason = "length" if len(made) == body["max_tokens"] else "stop"
    choice = {"text": "", "logprobs": {"tokens": tokens, "top_logprobs": steps}, "finish_reason": reason}
    return {"model": body["model"], "choices": [choice], "usage": {"prompt_tokens": len(ids)}}


def sglang(model, body, fault):
    allowed = {"input_ids", "sampling_params", "return_logprob", "logprob_start_len", "token_ids_logprob", "lora_path"}
    assert set(body) <= allowed and set(body["sampling_params"]) <= SAMPLING
    assert body["return_logprob"] and body["logprob_start_len"] == -1 and body["sampling_params"]["no_stop_trim"]
    ids, labels, sampling = body["input_ids"], body["token_ids_logprob"], body["sampling_params"]
    made = model.generate(ids, labels, sampling["max_new_tokens"], *map(int, sampling.get("logit_bias", {})))
    places = [[*ids, *made[:place]] for place in range(len(made))]
    full = len(made) == sampling["max_new_tokens"]
    meta = {
        "finish_reason": {"type": "length", "length": len(made)} if full else {"type": "stop", "matched": 2},
        "prompt_tokens": len(ids),
        "completion_tokens": len(made),
        "output_token_logprobs": [[says(at, own), own, None] for at, own in zip(places, made, strict=True)],
        "output_token_ids_logprobs": [[[says(at, label), label, None] for label in labels] for at in places],
    }
    return {"text": "", "output_ids": made, "meta_info": meta}


def openai(model, body, fault, *, biased=False):
    assert set(body) <= {"model", "prompt", "max_tokens", "temperature", "logprobs", "logit_bias"}
    assert isinstance(body["prompt"], str) and body["logprobs"] <= 5
    ids = model.tokenizer.encode(body["prompt"], add_special_tokens=False)
    bias = {int(key): value for key, value in body.get("logit_bias", {}).items()}
    labels = [model.tokenizer.encode(text, add_special_tokens=False)[0] for text in (" true", " false")]
    made = model.generate(ids, labels, body["max_tokens"], *bias)
    tokens, own, top = [], [], []
    for place, token in enumerate(made):
        at = [*ids, *made[:place]]
        total = sum(math.exp(says(at, forced)) * math.expm1(by) for forced, by in bias.items())
        shift = math.log1p(total) if biased else 0.0
        known = {each: says(at, each) + (bias.get(each, 0.0) if biased else 0.0) - shift for each in (TOP, token)}
        tokens.append(model.tokenizer.decode([token]))
        own.append(known[token])
        top.append({model.tokenizer.decode([each]): value for each, value in known.items() if biased or each == TOP})
    reason = "length" if len(made) == body["max_tokens"] else "stop"
    found = {"tokens": tokens, "token_logprobs": own, "top_logprobs": top}
    choice = {"text": "".join(tokens), "logprobs": found, "finish_reason": reason}
    return {"model": model.name + "-2026-11", "choices": [choice], "usage": {"prompt_tokens": len(ids)}}


def openai_biased(model, body, fault):
    return openai(model, body, fault, biased=True)


KINDS = {
    "vllm": ("vllm", "/v1/completions", vllm),
    "sglang": ("sglang", "/generate", sglang),
    "openai": ("somebody", "/v1/completions", openai),
    "biased": ("somebody", "/v1/completions", openai_biased),
}


@contextmanager
def serving(kind, model, faults=None, *, seconds=6.0, retry_after="0", card=None, other=None, delay=0.0, key=None):
    """Run a server for the length of a block.

    Args:
        kind: a key of `KINDS`.
        model: what it runs.
        faults: fault to the share of requests whose first try it hits.
        seconds: how long it hangs, or drips, if that is the fault.
        retry_after: the header of a 429.
        card: further fields of the model in /v1/models.
        other: the name of the model that answers claim to be of.
        delay: seconds that an answer takes.
        key: the key that it wants.

    Yields:
        The server, with ``url``, ``tries`` (body to number), ``met`` (body to fault), and ``most`` (at the same time).
    """
    owner, route, answer = KINDS[kind]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            context = {"max_model_len": 4096, **(card or {})}
            known = {
                "/v1/models": {"data": [{"id": model.name, "owned_by": owner, **context}]},
                "/version": {"version": "0.32.0"},
                "/server_info": {"version": "0.5.23"},
            }
            if key and self.headers.get("Authorization") != f"Bearer {key}":
                return self.reply(401, {"error": f"no such key: {self.headers.get('Authorization')}"})
            self.reply(200 if self.path in known else 404, known.get(self.path, {}))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = server.enter(body)
            try:
                time.sleep(delay)
                if fault == "hang":
                    server.ended.wait(seconds)
                if fault in ("hang", "reset"):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True
                elif fault in ("429", "500"):
                    self.reply(int(fault), {"error": {"message": f"fault {fault}"}})
                else:
                    assert self.path == route, self.path
                    found = answer(model, body, fault)
                    self.reply(200, {**found, **({"model": other} if other else {})}, fault)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with lock:
                    server.now -= 1

        def reply(self, status, value, fault=None):
            data = json.dumps(value).encode()
            data = data[: len(data) // 2] if fault == "cut" else data
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            parts = [data] if fault != "drip" else [data[place : place + 9] for place in range(0, len(data), 9)]
            for part in parts:
                self.wfile.write(part)
                if fault == "drip":
                    server.ended.wait(seconds / len(parts))

        def handle(self):
            with suppress(OSError, ValueError):  # the client is gone, or the connection is closed
                super().handle()

        def log_message(self, *unused):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def enter(self, body):
            name = json.dumps(body, sort_keys=True)
            with lock:
                self.tries[name] += 1
                self.now += 1
                self.most = max(self.most, self.now)
                first = self.tries[name] == 1
                if self.dead:
                    return "reset"
            draw = random.Random(name).random()
            for fault, share in (faults or {}).items():
                draw -= share
                if draw < 0:
                    if not first or "logit_bias" in name:
                        return None
                    with lock:
                        self.met[name] = fault
                    return fault
            return None

    lock = threading.Lock()
    server = Server(("127.0.0.1", 0), Handler)
    server.tries, server.met, server.now, server.most, server.dead = Counter(), {}, 0, 0, False
    server.ended = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.dead = True  # open connections are reset
        server.ended.set()
        server.shutdown()
        server.server_close()
