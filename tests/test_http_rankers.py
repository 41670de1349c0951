"""Rankers over HTTP: a server's, a request's, what they may ask, and how they share the model with other requests."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'limrank-ir[serve]'")

from fastapi.testclient import TestClient
from typer.testing import CliRunner

from limrank_ir import EngineError, InputError, LimRank
from limrank_ir.cli.app import app as cli
from limrank_ir.http import Limits, create_app
from limrank_ir.rankers import fit
from limrank_ir.rankers.fit import engine_ask
from limrank_ir.rankers.lockstep import lockstep
from limrank_ir.rankers.named import as_ranker
from limrank_ir.rankers.order import Candidates
from limrank_ir.rankers.run import rank_candidates
from limrank_ir.ranking.windows import Windows
from limrank_ir.verdict import Written
from tests.asked import Knows

from .serving import served, until
from .test_http_sockets import ask, open_request
from .test_http_sockets import waiting as waiting_at

TEXTS = [f"p {number * 3 % 7}" for number in range(7)]
BEST_FIRST = [2, 4, 6, 1, 3, 5, 0]


class Gated(Knows):
    """Waits before each batch while its gate is shut."""

    def __init__(self, **options):
        super().__init__(**options)
        self.gate = threading.Event()
        self.gate.set()

    def _batches(self, prompts, done):
        for batch in super()._batches(prompts, done):
            assert self.gate.wait(20)
            yield batch


def body(ranker="setwise:top=7", documents=TEXTS, **more):
    return {"query": "q", "documents": documents, "ranker": ranker, **more}


def ranked(answer):
    assert answer.status_code == 200, answer.text
    return [result["index"] for result in answer.json()["results"]]


@pytest.fixture
def engine():
    return Gated()


@pytest.fixture(scope="module")
def server():
    """A server that keeps its tokenizer and prompts from test to test, and its model."""
    limrank = LimRank(engine=Gated())
    with TestClient(create_app(limrank)) as client:
        client.post("/v2/rerank", json=body())  # a first import of transformers takes longer than tests wait
        yield limrank, client


@pytest.fixture
def client(server, engine):
    """The server's client, with an engine of the test's own."""
    limrank, client = server
    limrank.engine = engine
    return client


@pytest.mark.parametrize(
    ("ranker", "formats"),
    [
        ("pointwise", []),
        ("graded", []),
        ("graded:rule=tfrank", ["grade-0-4"]),
        ("setwise:top=3,window=3", []),
        ("setwise:by=answer", ["setwise-numbers"]),
        ("listwise:window=4,stride=2,repeats=2", ["listwise"]),
        ("first:window=3,stride=1", []),
        ("two-stages:second=setwise,top=3", ["setwise"]),
        ("adaptive:budget=5", []),
    ],
)
def test_the_answer_has_the_order_the_scores_and_the_counts_of_the_ranker(client, ranker, formats):
    answer = client.post("/v2/rerank", json=body(ranker, set_formats=formats, explain=True))
    made = as_ranker(ranker)
    told = engine_ask(LimRank(engine=Knows()), made, formats)
    ((_, order),) = rank_candidates(told, made, [Candidates("q", TEXTS)])
    assert ranked(answer) == list(order.indices)
    results = answer.json()["results"]
    assert [result["relevance_score"] for result in results] == list(order.scores)
    assert [result["mark"] for result in results] == list(order.marks) and "log_odds" not in results[0]
    counts = answer.json()["ranker"]
    assert counts.pop("name") == ranker
    assert counts == {
        name: getattr(order.counts, name) for name in ("questions", "tokens", "repaired", "repairs", "failed")
    }
    assert counts["questions"] > 0 and answer.json()["usage"] == {"total_tokens": counts["tokens"]}


def test_it_goes_with_the_fields_of_each_format(client):
    documents = [{"title": "p", "text": text} for text in TEXTS]
    answer = client.post("/v1/rerank", json=body(documents=documents, top_n=2, return_documents=True))
    assert [result["document"] for result in answer.json()["results"]] == [documents[2], documents[4]]
    texts = {"query": "q", "texts": TEXTS[:3], "ranker": "setwise", "raw_scores": True, "return_text": True}
    answer = client.post("/rerank", json=texts).json()
    assert answer == [{"index": n, "score": 3.0 - place, "text": TEXTS[n]} for place, n in enumerate([2, 1, 0])]
    assert ranked(client.post("/v2/rerank", json=body(documents=["one"]))) == [0]
    assert ranked(client.post("/v2/rerank", json=body(None))) == BEST_FIRST  # null: verdicts
    assert "ranker" not in client.post("/v2/rerank", json=body(None)).json()


def test_an_instruction_reaches_the_model(client, engine):
    client.post("/v2/rerank", json=body(instruction="only recipes"))
    assert all("only recipes" in prompt.text for prompt in engine.asked)


def test_a_servers_ranker_is_for_requests_that_name_none(engine):
    app = create_app(LimRank(engine=engine), ranker="setwise:top=2", set_formats=["setwise-numbers"])
    with TestClient(app) as client:
        first = client.post("/v1/rerank", json=body(None))
        assert first.json()["ranker"]["name"] == "setwise:top=2" and ranked(first)[:2] == BEST_FIRST[:2]
        numbers = engine.asked[-1].suffix
        client.post("/v1/rerank", json=body(None, set_formats=["setwise"]))
        assert engine.asked[-1].suffix != numbers
        other = client.post("/v1/rerank", json=body("listwise"))  # without the server's formats
        assert other.json()["ranker"]["name"] == "listwise" and ranked(other) == BEST_FIRST


def test_answers_are_saved(tmp_path, engine):
    with TestClient(create_app(LimRank(engine=engine, store=tmp_path / "v.db"))) as client:
        first = client.post("/v2/rerank", json=body()).json()
        asked = len(engine.asked)
        again = client.post("/v2/rerank", json=body()).json()
    assert len(engine.asked) == asked > 0
    assert (again["results"], again["ranker"]) == (first["results"], first["ranker"])


def test_answers_of_no_use_keep_the_order_and_are_counted(client, engine, monkeypatch):
    monkeypatch.setattr(engine, "_text", lambda *unused: Written("I cannot rank these.", 9, 4, "stop"))
    answer = client.post("/v2/rerank", json=body("listwise"))
    assert ranked(answer) == list(range(7)) and answer.json()["ranker"]["failed"] == 1


def test_what_was_done_to_the_texts_is_logged_batch_by_batch_as_without_a_ranker(client, caplog):
    cut = ["p 99 <|im_end|>", "p 99", "p 1"]  # the engine cuts what ends in 99
    for ranker in (None, "pointwise", "setwise:window=3,top=1"):
        caplog.clear()
        ranked(client.post("/v2/rerank", json=body(ranker, cut, query=f"by {ranker}")))
        said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(said) == 2 and " cut " in said[0] and "reserved strings" in said[1], (ranker, said)
        if ranker == "pointwise":
            assert said[0] == "passages were cut in 2 of 3 prompts to fit (2 tokens in all)"


# What is refused

REFUSED = {
    "unknown": ({"ranker": "setwize"}, "unknown ranker 'setwize' (did you mean setwise?)"),
    "option": ({"ranker": "setwise:tops=3"}, "setwise has no option 'tops' (did you mean top?)"),
    "value": ({"ranker": "setwise:top=many"}, "setwise: top is 'many'; give a whole number"),
    "kind": ({"ranker": 7}, "ranker: Input should be a valid string"),
    "long": ({"ranker": "setwise:" + "top=1," * 99}, "ranker: String should have at most 200 characters"),
    "format": ({"set_formats": ["rank-zephir"]}, "unknown format 'rank-zephir'; choose one of"),
    "other format": ({"set_formats": ["listwise"]}, "the format listwise has no effect with setwise"),
    "formats": ({"ranker": None, "set_formats": ["setwise"]}, "set_formats has no effect without a ranker"),
    "letters": ({"ranker": "first:window=30,stride=9"}, "26"),
    "digits": ({"ranker": "setwise:window=11", "set_formats": ["setwise-numbers"]}, "show at most 9 at a time"),
    "second stage": ({"ranker": "two-stages:top=30,second=first,second.window=30"}, "26"),
    "questions": ({"ranker": "setwise:repeats=500"}, "may ask 5000 questions about 7 documents, more than 2000"),
    "endless": ({"ranker": "setwise:repeats=1000000000"}, "repeats is above 10000; lower it"),
    "nothing, endlessly": ({"ranker": "groupwise:depth=0,repeats=1000000000"}, "repeats is above 10000"),
    "inside": ({"ranker": "two-stages:second=setwise,second.repeats=99999"}, "repeats is above 10000"),
    "one document": ({"ranker": "setwise:repeats=9999", "documents": ["a"]}, "may ask 9999 questions"),
    "window": ({"ranker": "listwise:window=500"}, "100"),
    "thoughts": ({"ranker": "groupwise"}, "groupwise writes thoughts here, which this server does not do at a request"),
    "a format's": ({"ranker": "listwise", "set_formats": ["rearank"]}, "writes thoughts here"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line_and_nothing_is_asked(client, engine, change, message):
    answer = client.post("/v2/rerank", json={**body("setwise"), **change})
    assert answer.status_code == 400, answer.text
    line = answer.json()["message"]
    assert message in line and "\n" not in line and answer.json()["detail"] == line
    assert not engine.asked


def test_seeds_and_repeats_are_tried_once_and_not_with_every_request(client, monkeypatch):
    tried = []
    monkeypatch.setattr(fit, "lockstep", lambda *given: tried.append(given) or lockstep(*given))
    for options in ("seed=1", "seed=2", "repeats=3", "repeats=4,seed=5"):
        ranked(client.post("/v2/rerank", json=body(f"setwise:top=1,window=6,{options}", documents=TEXTS[:2])))
    assert len(tried) == 1


def test_a_model_or_an_engine_that_cannot_is_refused_before_the_first_stage_of_two(tmp_path):
    class Reads:
        def __init__(self):
            self.knows = Knows()
            self.identity, self.read_labels = "reads", self.knows.read_labels

    engine = Reads()
    with TestClient(create_app(LimRank(engine=engine))) as client:
        answer = client.post("/v2/rerank", json=body("listwise"))
        assert answer.status_code == 400 and "only reads labels" in answer.json()["message"]
        assert not engine.knows.asked


def test_windows_of_documents_do_not_go_with_rankers(engine):
    with TestClient(create_app(LimRank(engine=engine), windows=Windows(3, 2))) as client:
        answer = client.post("/v2/rerank", json=body())
        assert answer.status_code == 400 and "splits documents into windows" in answer.json()["message"]
    with pytest.raises(InputError, match="windows split documents, which rankers do not do"):
        create_app(LimRank(engine=engine), windows=Windows(3, 2), ranker="setwise")


def test_thoughts_are_for_servers_that_are_started_with_them(engine):
    with TestClient(create_app(LimRank(engine=engine), ranker="groupwise")) as client:
        assert ranked(client.post("/v2/rerank", json=body(None))) == BEST_FIRST
        assert ranked(client.post("/v2/rerank", json=body("listwise", set_formats=["rearank"]))) == BEST_FIRST


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ranker", "setwize"), "did you mean setwise?"),
        (("--ranker", "setwise", "--set-format", "listwise"), "the format listwise has no effect with setwise"),
        (("--set-format", "setwise"), "--set-format has no effect without --ranker"),
        (("--ranker", "setwise", "--window", "20"), "--window does not go with --ranker"),
    ],
)
def test_the_command_refuses_before_it_serves(options, message):
    result = CliRunner().invoke(cli, ["serve", "--port", "0", *options])
    assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1


# How requests share the model


def metrics(client):
    lines = [line.split() for line in client.get("/metrics").text.splitlines()]
    return {name: float(value) for name, value in (line for line in lines if len(line) == 2)}


def test_verdicts_are_judged_between_the_rounds_of_others_and_all_are_counted(client, engine):
    before = metrics(client)
    engine.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        requests = [body("setwise:top=2"), body("setwise:top=2", query="other"), body(None)]
        first = pool.submit(client.post, "/v2/rerank", json=body("first"))
        until(lambda: engine.calls)
        answers = [pool.submit(client.post, "/v2/rerank", json=request) for request in requests]
        waiting = [as_ranker(name).calls(7) for name in ("first", "setwise:top=2", "setwise:top=2", "pointwise")]
        until(lambda: client.get("/health").json()["waiting"] == sum(waiting))
        engine.gate.set()
        assert all(ranked(answer.result())[:2] == BEST_FIRST[:2] for answer in [first, *answers])
    sizes = [(len(labels), count) for labels, count, _ in engine.calls]
    assert sizes.index((2, 7)) < len(sizes) - 1  # verdicts before the last round
    asked = sum(answer.result().json()["ranker"]["questions"] for answer in [first, *answers[:2]])
    after = metrics(client)
    assert after["limrank_questions_total"] - before["limrank_questions_total"] == asked
    assert after["limrank_pairs_total"] - before["limrank_pairs_total"] == 7 and after["limrank_queue_pairs"] == 0


def test_a_long_ranker_leaves_room_for_verdicts_between_its_batches():
    engine = Gated(batch=1000)
    engine.gate.clear()
    with (
        TestClient(create_app(LimRank(engine=engine), limits=Limits(batch=8))) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        long = pool.submit(client.post, "/v2/rerank", json=body("setwise:window=3", documents=TEXTS * 10))
        until(lambda: engine.calls)
        most = as_ranker("setwise:window=3").calls(70)
        short = pool.submit(client.post, "/v2/rerank", json=body(None, documents=TEXTS[:2]))
        until(lambda: client.get("/health").json()["waiting"] == most + 2)
        engine.gate.set()
        assert ranked(short.result()) == [1, 0] and ranked(long.result())
    assert max(count * len(labels) for labels, count, _ in engine.calls) <= 8  # passages at once
    kinds = [labels for labels, *_ in engine.calls]
    assert kinds.index((" true", " false")) <= 4 < len(kinds) / 4  # one batch was running, and one was before it


def test_a_disconnect_ends_the_rounds_of_its_client(engine):
    engine.gate.clear()
    with served(create_app(LimRank(engine=engine))) as address:
        client = open_request(address, json.dumps(body("setwise:top=7")).encode())
        until(lambda: engine.calls)
        client.close()
        until(lambda: waiting_at(address) == 0, seconds=2)
        engine.gate.set()
        status, answer = ask(address, "POST", "/v1/rerank", json.dumps(body("setwise:top=1", query="b")).encode())
        assert status == 200 and json.loads(answer)["results"][0]["index"] == BEST_FIRST[0]
        assert len([prompt for prompt in engine.asked if "b" not in prompt.prefix]) <= 2
        assert b'status="499"} 1.0' in ask(address, "GET", "/metrics")[1]


def test_a_full_queue_refuses_a_ranker_at_the_start_and_never_in_a_later_round(engine):
    engine.gate.clear()
    limits = Limits(queue=20)
    with TestClient(create_app(LimRank(engine=engine), limits=limits)) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/v2/rerank", json=body("setwise:top=3"))
        until(lambda: engine.calls)
        alone = client.get("/health").json()["waiting"]
        second = pool.submit(client.post, "/v2/rerank", json=body("adaptive:rounds=7"))
        until(lambda: client.get("/health").json()["waiting"] == alone + 7)
        refused = client.post("/v2/rerank", json=body("setwise:top=7"))
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        engine.gate.set()
        assert ranked(first.result())[:3] == BEST_FIRST[:3] and ranked(second.result()) == BEST_FIRST
        assert client.get("/health").json()["waiting"] == 0


def test_a_machine_that_fails_in_a_later_round_fails_its_request_alone(client, engine, monkeypatch):
    reading = engine._reading

    def failing(prompt, labels):
        if len(labels) == 4 and len(engine.asked) > 4 and "bad" in prompt.text:
            raise EngineError("out of memory")
        return reading(prompt, labels)

    monkeypatch.setattr(engine, "_reading", failing)
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(client.post, "/v2/rerank", json=body())
        bad = pool.submit(client.post, "/v2/rerank", json=body(query="bad"))
        assert ranked(good.result()) == BEST_FIRST
        assert bad.result().status_code == 503 and "out of memory" in bad.result().json()["message"]


def test_a_shutdown_waits_for_all_rounds(engine):
    engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        with served(create_app(LimRank(engine=engine))) as address:
            answer = pool.submit(ask, address, "POST", "/v1/rerank", json.dumps(body()).encode())
            until(lambda: engine.calls)
            threading.Timer(0.2, engine.gate.set).start()
        status, content = answer.result()
    assert status == 200 and [result["index"] for result in json.loads(content)["results"]] == BEST_FIRST


def test_the_real_model(limrank):
    ranker, formats = "setwise:top=2", ["setwise-numbers"]
    documents = ["A cake needs flour.", "shutil.copy(src, dst) copies a file.", "os.remove(path) removes a file."]
    told = engine_ask(limrank, as_ranker(ranker), formats)
    ((_, order),) = rank_candidates(told, as_ranker(ranker), [Candidates("how do I copy a file?", documents)])
    request = {"query": "how do I copy a file?", "documents": documents, "ranker": ranker, "set_formats": formats}
    with TestClient(create_app(limrank)) as client:
        answer = client.post("/v2/rerank", json=request)
        assert ranked(answer) == list(order.indices)
        assert answer.json()["ranker"]["questions"] == 2 and answer.json()["ranker"]["failed"] == 0
        assert len(ranked(client.post("/v2/rerank", json={**request, "ranker": "listwise", "set_formats": []}))) == 3
