"""The server: the APIs of Jina and Cohere, batches across requests, limits, and a shutdown that loses nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'limrank-ir[serve]'")

from fastapi.testclient import TestClient

from limrank_ir.http import Limits, create_app
from limrank_ir.ranking.windows import Windows
from tests.serving import counting

QUERY = "how do I copy a file?"
TEXTS = ["A cake needs flour.", "shutil.copy(src, dst) copies a file.", "os.remove(path) removes a file."]


@pytest.fixture(scope="module")
def client(limrank):
    with TestClient(create_app(limrank)) as client:
        yield client


@pytest.fixture(scope="module")
def order(limrank):
    return [ranked.index for ranked in limrank.rank(QUERY, TEXTS)]


def test_version_two(client, order, limrank):
    answer = client.post("/v2/rerank", json={"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS, "top_n": 2})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [result["index"] for result in body["results"]] == order[:2]
    assert all(
        set(result) == {"index", "relevance_score"} and 0 <= result["relevance_score"] <= 1
        for result in body["results"]
    )
    assert body["model"] == "limrank-smol" and body["usage"]["total_tokens"] > 60
    assert body["meta"]["api_version"]["version"] == "2" and body["id"]


def test_version_one(client, order):
    documents = [TEXTS[0], {"text": TEXTS[1], "id": 7}, {"text": TEXTS[2]}]
    answer = client.post("/v1/rerank", json={"query": QUERY, "documents": documents, "return_documents": True}).json()
    assert [result["index"] for result in answer["results"]] == order
    found = {result["index"]: result["document"] for result in answer["results"]}
    assert found == {0: {"text": TEXTS[0]}, 1: {"text": TEXTS[1], "id": 7}, 2: {"text": TEXTS[2]}}
    plain = client.post("/v1/rerank", json={"query": QUERY, "documents": documents}).json()
    assert all("document" not in result for result in plain["results"])


def test_explanations_and_instructions(client, limrank):
    request = {"query": QUERY, "documents": TEXTS[:1], "instruction": "only recipes", "explain": True}
    (result,) = client.post("/v2/rerank", json=request).json()["results"]
    (verdict,) = limrank.judge([(QUERY, TEXTS[0], "only recipes")])
    assert result["log_odds"] == pytest.approx(verdict.log_odds, abs=1e-3)
    assert result["reasoning"] is None and result["relevance_score"] == pytest.approx(verdict.probability, abs=1e-3)


def test_requests_above_the_limits(limrank):
    with TestClient(create_app(limrank, limits=Limits(documents=2, bytes=500))) as client:
        answer = client.post("/v2/rerank", json={"query": "q", "documents": ["a"] * 3})
        assert answer.status_code == 400 and "3 documents, more than 2" in answer.json()["message"]
        answer = client.post("/v2/rerank", json={"query": "q", "documents": ["a" * 500]})
        assert answer.status_code == 413 and "longer than 500 bytes" in answer.json()["message"]


def test_a_query_that_is_too_long_fails_only_its_own_request(limrank):
    with TestClient(create_app(limrank)) as client, ThreadPoolExecutor(8) as pool:
        long = {"query": "word " * 20_000, "documents": ["a"]}
        good = {"query": QUERY, "documents": TEXTS}
        requests = [good, long, good, long, good]
        answers = list(pool.map(lambda request: client.post("/v2/rerank", json=request), requests))
    assert [answer.status_code for answer in answers] == [200, 400, 200, 400, 200]
    assert "room" in answers[1].json()["message"]


def test_metrics(limrank):
    with TestClient(create_app(limrank)) as client:
        client.post("/v2/rerank", json={"query": QUERY, "documents": TEXTS})
        client.post("/v2/rerank", json={})
        text = client.get("/metrics").text
    assert 'limrank_requests_total{path="/v2/rerank",status="200"} 1.0' in text
    assert 'limrank_requests_total{path="/v2/rerank",status="400"} 1.0' in text
    assert "limrank_pairs_total 3.0" in text and "limrank_queue_pairs 0.0" in text


class Held:
    """The real reranker, held until its gate opens."""

    def __init__(self, limrank):
        self.limrank = limrank
        self.gate = threading.Event()

    def __getattr__(self, name):
        return getattr(self.limrank, name)

    def judge(self, pairs, *, progress):
        assert self.gate.wait(20)
        return self.limrank.judge(pairs, progress=progress)


def test_a_full_server_answers_429_and_says_when_to_try_again(limrank, order):
    held = Held(limrank)
    request = {"query": QUERY, "documents": TEXTS}
    with TestClient(create_app(held, limits=Limits(queue=4))) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v2/rerank", json=request)
        deadline = time.monotonic() + 20
        while client.get("/health").json()["waiting"] == 0:
            assert time.monotonic() < deadline
        refused = client.post("/v2/rerank", json=request)
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        assert "the queue is full" in refused.json()["message"]
        held.gate.set()
        assert [result["index"] for result in first.result().json()["results"]] == order
        assert client.post("/v2/rerank", json=request).status_code == 200


# The command, and real clients


@pytest.fixture(scope="module")
def server():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "limrank_ir", "serve", "--port", str(port), "--queue", "2000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "LIMRANK_TOKEN": "t"})
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
            break
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.2)
    yield url, process
    process.kill()
    process.wait()


def test_coheres_sdk(server, order):
    cohere = pytest.importorskip("cohere", reason="the cohere SDK is not installed")
    url, _ = server
    answer = cohere.ClientV2(api_key="t", base_url=url).rerank(model="any", query=QUERY, documents=TEXTS, top_n=2)
    assert [result.index for result in answer.results] == order[:2]
    first = cohere.Client(api_key="t", base_url=url).rerank(
        query=QUERY, documents=[{"text": text} for text in TEXTS], return_documents=True
    )
    assert [result.index for result in first.results] == order
    assert first.results[0].document.text == TEXTS[order[0]]
    with pytest.raises(cohere.errors.UnauthorizedError):
        cohere.ClientV2(api_key="no", base_url=url).rerank(model="any", query=QUERY, documents=TEXTS)
    with pytest.raises(cohere.errors.BadRequestError, match="documents"):
        cohere.ClientV2(api_key="t", base_url=url).rerank(model="any", query=QUERY, documents=[])


def test_langchains_jina_client(server, order):
    compressors = pytest.importorskip("langchain_community.document_compressors.jina_rerank")
    from langchain_core.documents import Document

    url, _ = server
    client = compressors.JinaRerank(jina_api_key="t", top_n=2, model="any")
    client.session.headers["Authorization"] = "Bearer t"
    compressors.JINA_API_URL = f"{url}/v1/rerank"
    ranked = client.compress_documents([Document(page_content=text) for text in TEXTS], QUERY)
    assert [document.page_content for document in ranked] == [TEXTS[index] for index in order[:2]]


def test_two_hundred_requests_at_once_and_a_shutdown_that_loses_nothing(server, order):
    url, process = server

    def ask(number):
        texts = [f"{text} ({number % 7})" for text in TEXTS]
        body = json.dumps({"query": QUERY, "documents": texts}).encode()
        request = urllib.request.Request(f"{url}/v2/rerank", body, {"Authorization": "Bearer t"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["results"]

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
        assert all(sorted(result["index"] for result in results) == [0, 1, 2] for results in answers)
        for number in range(7, 200):  # equal requests get equal answers in any batch
            scores = [result["relevance_score"] for result in answers[number]]
            assert scores == pytest.approx([result["relevance_score"] for result in answers[number % 7]], abs=1e-3)
        late = [pool.submit(ask, number) for number in range(20)]
        while not (waiting := json.load(urllib.request.urlopen(f"{url}/health"))["waiting"]):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        done = [future for future in late if future.exception() is None]
    assert 3 * len(done) >= waiting and all(len(future.result()) == 3 for future in done)
    assert process.wait(60) in (0, -signal.SIGTERM)
    # Uvicorn closes connections whose request it has not read, so those end without a byte; others are refused.
    refused = [future.exception() for future in late if future.exception() is not None]
    kinds = [error.reason if type(error) is urllib.error.URLError else error for error in refused]
    assert [error for error in kinds if not isinstance(error, (ConnectionRefusedError, ConnectionResetError))] == []


def test_long_documents_count_as_their_best_window():
    limrank = counting()
    request = {"query": "q", "documents": [{"title": "T", "text": "a b c d e"}, "a b c"], "explain": True}
    with TestClient(create_app(limrank, windows=Windows(3, 2))) as client:
        body = client.post("/v1/rerank", json={**request, "return_documents": True}).json()
    assert limrank.engine.read == ["T a b c", "T c d e", "a b c"]
    assert [(result["index"], result["log_odds"]) for result in body["results"]] == [(0, 1.0), (1, 0.0)]
    assert body["results"][0]["document"] == {"title": "T", "text": "a b c d e"}
    assert body["usage"]["total_tokens"] == 30  # of all windows
