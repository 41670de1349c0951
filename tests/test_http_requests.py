"""What clients of many kinds send, and what they get; with a fast engine."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'limrank-ir[serve]'")

from fastapi.testclient import TestClient

from limrank_ir import EngineError, InputError
from limrank_ir.http import Limits, create_app
from limrank_ir.http.requests import Rerank, RerankTexts, read

from .serving import counting

TEXTS = ["one two", "one two three four", "one"]
ORDER = [1, 0, 2]


@pytest.fixture(scope="module")
def limrank():
    return counting()


@pytest.fixture(scope="module")
def client(limrank):
    with TestClient(create_app(limrank)) as client:
        yield client


def request_body(**fields):
    return {"query": "q", "documents": TEXTS, **fields}


def indices(answer):
    assert answer.status_code == 200, answer.text
    return [result["index"] for result in answer.json()["results"]]


def message(answer, status=400):
    body = answer.json()
    assert answer.status_code == status and body["message"] == body["detail"] and "\n" not in body["message"]
    return body["message"]


DOCUMENTS = {
    "a text": ("one", "one"),
    "text": ({"text": "one", "url": 3}, "one"),
    "LangChain's": ({"page_content": "one", "metadata": {"page": 2}}, "one"),
    "Haystack's": ({"content": "one", "meta": {}, "id": None}, "one"),
    "Anserini's": ({"id": "d1", "contents": "one"}, "one"),
    "MS MARCO's": ({"docid": "d1", "segment": "one"}, "one"),
    "with a title": ({"title": "zero", "content": "one"}, "zero one"),
    "with an empty title": ({"title": "", "text": "one"}, "one"),
    "with no title": ({"title": None, "text": "one"}, "one"),
    "an empty text beside another": ({"text": "", "content": "one"}, "one"),
    "no text beside another": ({"text": None, "page_content": "one"}, "one"),
    "an empty text": ({"text": ""}, ""),
    "nothing but a title": ({"title": "zero", "text": ""}, "zero"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_of_all_kinds_are_read_and_returned_unchanged(client, limrank, path, name):
    document, text = DOCUMENTS[name]
    answer = client.post(path, json=request_body(documents=[document, "other"], return_documents=True))
    found = {result["index"]: result["document"] for result in answer.json()["results"]}
    assert found[0] == ({"text": document} if isinstance(document, str) else document)
    assert limrank.engine.read[-2:] == [text, "other"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [(["body"], "b"), (["body", "heading"], "b h"), (["none", "heading"], "h"), ([], "t"), (None, "t")],
)
def test_rank_fields_are_joined_in_their_order(client, limrank, fields, text):
    document = {"heading": "h", "body": "b", "text": "t"}
    client.post("/v1/rerank", json=request_body(documents=[document], rank_fields=fields))
    assert limrank.engine.read[-1] == text


BAD = {
    "invalid JSON": ("{", r"invalid request: Invalid JSON"),
    "an empty body": ("", "invalid request: the body is empty; send JSON"),
    "blanks": (" \n ", "invalid request: the body is empty"),
    "a list": ("[]", "invalid request: Input should be an object"),
    "depth": ('{"query": "q", "documents": ["a"], "z": ' + "[" * 100_000 + "]" * 100_000 + "}", "invalid request: .*"),
    "Latin-1": ('{"query": "ü"'.encode("latin-1"), "invalid request: byte 11 is not UTF-8"),
    "UTF-16": ('{"query": "q"'.encode("utf-16"), "invalid request: byte 0 is not UTF-8"),
    "compressed": (b"\x1f\x8b\x08\x00", "invalid request: byte 1 is not UTF-8"),
    "no query": ('{"documents": ["a"]}', "invalid request: query: Field required"),
    "an empty query": ('{"query": " ", "documents": ["a"]}', "invalid request: query: is empty"),
    "a query of an image": ('{"query": {"image": "a"}, "documents": ["a"]}', "invalid request: query: .*string"),
    "no documents": ('{"query": "q", "documents": []}', "invalid request: documents: "),
    "a string for documents": ('{"query": "q", "documents": "abc"}', "invalid request: documents: .*(array|list)"),
    "a number": ('{"query": "q", "documents": ["a", 1]}', r"invalid request: documents\.1: is a number; give a string"),
    "null": ('{"query": "q", "documents": ["a", "b", null]}', r"invalid request: documents\.2: is null"),
    "false": ('{"query": "q", "documents": [false]}', r"invalid request: documents\.0: is false"),
    "a list in a list": ('{"query": "q", "documents": [["a"]]}', r"invalid request: documents\.0: is a list"),
    "an image": ('{"query": "q", "documents": ["a", {"image": "x"}]}', r"invalid request: documents\.1: has no text"),
    "a title alone": ('{"query": "q", "documents": [{"title": "x"}]}', r"invalid request: documents\.0: has no text"),
    "a text that is not a string": (
        '{"query": "q", "documents": [{"text": ["a"]}]}',
        r"invalid request: documents\.0: its text is a list",
    ),
    "a title that is not a string": (
        '{"query": "q", "documents": [{"text": "a", "title": 3}]}',
        r"invalid request: documents\.0: its title is a number",
    ),
    "fields that are missing": (
        '{"query": "q", "documents": ["a", {"text": "a"}], "rank_fields": ["body", "head"]}',
        r"invalid request: documents\.1: has none of the rank_fields body, head",
    ),
    "top_n 0": ('{"query": "q", "documents": ["a"], "top_n": 0}', "invalid request: top_n: "),
    "top_k -3": ('{"query": "q", "documents": ["a"], "top_k": -3}', "invalid request: top_k: "),
    "top_n NaN": ('{"query": "q", "documents": ["a"], "top_n": NaN}', "invalid request: top_n: .*finite"),
    "two counts": ('{"query": "q", "documents": ["a"], "top_n": 1, "top_k": 2}', "invalid request: top_n and top_k"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_bad_requests_get_one_line(client, path, name):
    body, expected = BAD[name]
    assert re.match(expected, message(client.post(path, content=body)))


def test_a_request_without_a_body_or_with_an_encoding(client):
    assert "empty" in message(client.post("/v1/rerank"))
    packed = client.post("/v1/rerank", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert "'gzip' is not supported" in message(packed, 415)
    plain = client.post("/v1/rerank", content=json.dumps(request_body()), headers={"Content-Encoding": "identity"})
    assert indices(plain) == ORDER
    assert indices(client.post("/v1/rerank", content=b"\xef\xbb\xbf" + json.dumps(request_body()).encode())) == ORDER


def chunks(body):
    for start in range(0, len(body), 7):
        yield body[start : start + 7]


def test_a_body_in_chunks(client):
    assert indices(client.post("/v1/rerank", content=chunks(json.dumps(request_body()).encode()))) == ORDER


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ({"top_n": 1}, 1),
        ({"top_k": 1}, 1),
        ({"top_n": 2, "top_k": 2}, 2),
        ({"top_n": None, "top_k": 2}, 2),
        ({"top_n": 99}, 3),
        ({"top_n": None}, 3),
        ({"top_n": "2"}, 2),
        ({"top_n": 2.0}, 2),
    ],
)
def test_how_many_results_are_returned(client, count, expected):
    assert indices(client.post("/v1/rerank", json=request_body(**count))) == ORDER[:expected]


def test_null_is_the_same_as_a_missing_field(client):
    fields = ["top_n", "top_k", "return_documents", "rank_fields", "instruction", "explain", "model"]
    answer = client.post("/v1/rerank", json=request_body(**dict.fromkeys(fields)))
    assert indices(answer) == ORDER and set(answer.json()["results"][0]) == {"index", "relevance_score"}


def test_queries_as_objects_equal_documents_and_unknown_fields(client):
    assert indices(client.post("/v1/rerank", json=request_body(query={"text": "q"}))) == ORDER
    assert indices(client.post("/v1/rerank", json=request_body(documents=["one", "one two", "one"]))) == [1, 0, 2]
    others = {"max_tokens_per_doc": 7, "max_chunks_per_doc": 3, "truncation": True, "model": "rerank-v3.5"}
    assert indices(client.post("/v2/rerank", json=request_body(**others))) == ORDER


def test_half_surrogates_are_replaced_and_whole_pairs_are_kept(client, limrank):
    texts = r'"\ud83d x", {"text": "\ud83d\ude00 \\ud83d", "k\uDBFF": "\ud83d\ud83d\ude00"}'
    body = r'{"query": "a\udc00b", "return_documents": true, "documents": [' + texts + "]}"
    answer = client.post("/v1/rerank", content=body)
    found = {result["index"]: result["document"] for result in answer.json()["results"]}
    assert found == {0: {"text": "\ufffd x"}, 1: {"text": "\U0001f600 \\ud83d", "k\ufffd": "\ufffd\U0001f600"}}
    assert limrank.engine.read[-2:] == ["\ufffd x", "\U0001f600 \\ud83d"]


@given(st.text(st.characters(codec=None, exclude_categories=()) | st.sampled_from('\\"u\ud83d\ude00d')))
def test_any_text_is_read_as_json_reads_it(text):
    halves = re.compile("[\ud800-\udfff]")
    body = json.dumps({"query": "q", "documents": [text]}).encode()
    expected = halves.sub("\ufffd", json.loads(body)["documents"][0])
    _, [[(_, found, _)]] = read(body, Rerank, 1)
    assert found == expected


def test_the_format_of_text_embeddings_inference(client, limrank):
    request = {"query": "q", "texts": TEXTS, "truncate": True, "truncation_direction": "Right"}
    answer = client.post("/rerank", json=request).json()
    assert [set(result) for result in answer] == [{"index", "score"}] * 3
    assert [result["index"] for result in answer] == ORDER and all(0 < result["score"] < 1 for result in answer)
    raw = client.post("/rerank", json={**request, "raw_scores": True, "return_text": True}).json()
    assert raw == [{"index": n, "score": len(TEXTS[n].split()) - 3.0, "text": TEXTS[n]} for n in ORDER]
    assert r"texts.1: is null; give a string" in message(
        client.post("/rerank", json={"query": "q", "texts": ["a", None]})
    )
    for wrong in ({"query": "q"}, {"query": "q", "texts": ["a"], "documents": ["a"]}):
        assert "either documents, or texts" in message(client.post("/rerank", json=wrong))


def test_models_health_and_docs(client):
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list" and [model["id"] for model in listed["data"]] == ["limrank-smol"]
    assert client.head("/health").status_code == 200 and client.head("/health").text == ""
    page = client.get("/docs").text
    assert all(word in page for word in ("POST /rerank", "rank_fields", "page_content", "Retry-After"))
    assert not re.search(r"<script|https?://|@import|url\(", page)
    openapi = json.dumps(client.get("/openapi.json").json())
    assert "$ref" not in openapi


def test_wrong_paths_and_methods(client):
    assert "no such path /score; use one of /health, " in message(client.post("/score"), 404)
    answer = client.get("/v1/rerank")
    assert message(answer, 405) == "/v1/rerank does not accept GET; use POST" and answer.headers["Allow"] == "POST"
    assert message(client.delete("/health"), 405)


@pytest.mark.parametrize(
    ("token", "header", "status"),
    [
        ("secret", "Bearer secret", 200),
        ("secret", "bearer secret", 200),
        ("secret", "BEARER   secret ", 200),
        ("schlüssel", "Bearer schlüssel".encode(), 200),
        ("schlüssel", "Bearer schlüssel".encode("latin-1"), 200),
        ("鍵", "Bearer 鍵".encode(), 200),
        ("鍵", "Bearer ?", 401),
        ("secret", "Bearer sécret".encode(), 401),
        ("secret", "Bearer", 401),
        ("secret", "Bearer ", 401),
        ("secret", "secret", 401),
        ("secret", "Basic secret", 401),
        ("secret", None, 401),
        ("", "Bearer ", 401),
        ("", None, 401),
        (None, "Bearer whatever", 200),
        (None, None, 200),
    ],
)
def test_tokens(limrank, token, header, status):
    app = create_app(limrank, token=token)
    headers = [] if header is None else [(b"authorization", header if isinstance(header, bytes) else header.encode())]

    async def with_header(scope, receive, send):  # httpx cannot send every byte
        await app({**scope, "headers": headers}, receive, send)

    with TestClient(with_header) as client:
        answers = [client.post("/v1/rerank", json=request_body()), client.get("/metrics"), client.get("/v1/models")]
        assert client.get("/health").status_code == 200
    assert [answer.status_code for answer in answers] == [status] * 3
    assert status == 200 or all(message(answer, 401) == "invalid api token" for answer in answers)


class Broken:
    """A reranker that fails."""

    def __init__(self, limrank, error):
        self.model, self.think, self.error = limrank.model, limrank.think, error

    def judge(self, pairs, *, progress):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (InputError("no room"), 400, "no room"),
        (EngineError("v.db: the store is locked"), 503, "v.db: the store is locked"),
        (MemoryError(), 503, "out of memory"),
        (ZeroDivisionError("oh"), 500, "internal error; see the server's log"),
    ],
)
def test_the_status_says_whose_fault_a_failure_is(limrank, error, status, expected):
    with TestClient(create_app(Broken(limrank, error))) as client:
        answer = client.post("/v1/rerank", json=request_body())
        assert expected in message(answer, status)
        assert (int(answer.headers["Retry-After"]) > 0) if status == 503 else "Retry-After" not in answer.headers
        assert f'status="{status}"}} 1.0' in client.get("/metrics").text


def test_requests_that_are_too_large(limrank):
    with TestClient(create_app(limrank, limits=Limits(documents=2, bytes=100))) as client:
        assert "3 documents, more than 2" in message(client.post("/v1/rerank", json=request_body()))
        for size in (100, 500, 5000):
            answer = client.post("/v1/rerank", json=request_body(documents=["a" * size]))
            assert "longer than 100 bytes" in message(answer, 413)


@pytest.mark.parametrize(
    "odd",
    [
        '"rank_fields": [' + "1," * 1_000_000 + "1]",
        '"rank_fields": [' + '"text",' * 200_000 + '"text"]',
        '"documents": [' + "1," * 1_000_000 + "1]",
        '"z": [' + "[]," * 200_000 + "1]",
        '"z": "' + r"\ud83d" * 300_000 + '"',
    ],
    ids=["numbers", "fields", "documents", "lists", "halves"],
)
def test_reading_time_is_linear_even_for_odd_bodies(odd):
    started = time.process_time()
    with pytest.raises(InputError):
        read(f'{{"query": "q", {odd}}}'.encode(), RerankTexts, 1000)
    assert time.process_time() - started < 5
