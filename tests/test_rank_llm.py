"""LimRank in the real RankLLM: its Reranker, its writers, its command line, and its server."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys

import pytest

from limrank_ir import InputError, LimRankError, fuse

data = pytest.importorskip(
    "rank_llm.data", reason="RankLLM is not installed: pip install --ignore-requires-python rank-llm"
)

from rank_llm.rerank import Reranker  # noqa: E402

from limrank_ir import rank_llm as ours  # noqa: E402

QUERY = "how do I copy a file?"
TEXTS = [
    "A cake needs flour.",
    "os.remove(path) removes a file.",
    "shutil.copy(src, dst) copies the file src to dst.",
    "a[0] += 1\n    # copies  nothing",
]


def request(qid="q1", query=QUERY, texts=TEXTS):
    candidates = [
        data.Candidate(docid=f"d{number}", score=9.0 - number, doc={"contents": text})
        for number, text in enumerate(texts)
    ]
    return data.Request(query=data.Query(text=query, qid=qid), candidates=candidates)


@pytest.fixture(scope="module")
def coordinator(limrank):
    return ours.LimRankCoordinator(limrank)


@pytest.fixture(scope="module")
def odds(limrank):
    return limrank.predict([(QUERY, text) for text in TEXTS]).tolist()


def order(result):
    return [candidate.docid for candidate in result.candidates]


def best(odds):
    return [f"d{number}" for number in sorted(range(len(odds)), key=lambda number: -odds[number])]


def test_the_reranker_ranks_by_the_verdicts(coordinator, odds):
    requests = [
        request(),
        request(7, "capital of France", ["Rome", "Paris is the capital of France."]),
        request("q3", texts=[]),
    ]
    before = copy.deepcopy(requests)
    results = Reranker(coordinator).rerank_batch(requests)
    assert requests == before
    assert [result.query for result in results] == [request.query for request in before]
    assert order(results[0]) == best(odds)
    scores = {candidate.docid: candidate.score for candidate in results[0].candidates}
    assert [scores[f"d{number}"] for number in range(4)] == pytest.approx(odds, abs=1e-3)
    assert order(results[1]) == ["d1", "d0"] and results[1].query.qid == 7
    assert order(results[2]) == []
    assert all(type(candidate.score) is float for result in results for candidate in result.candidates)
    assert all(result.invocations_history == [] for result in results)
    results[0].candidates[0].doc["contents"] = "changed"
    assert requests == before


def test_a_window_is_reranked_and_the_others_keep_their_places(coordinator, odds):
    result = Reranker(coordinator).rerank(request(), rank_start=1, rank_end=3)
    inside = ["d1", "d2"] if odds[1] >= odds[2] else ["d2", "d1"]
    assert order(result) == ["d0", *inside, "d3"]
    scores = [candidate.score for candidate in result.candidates]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4
    capped = Reranker(coordinator).rerank(request(), top_k_retrieve=2)
    assert order(capped)[2:] == ["d2", "d3"]


def test_arguments_for_other_models_have_no_effect(coordinator, odds):
    kwargs = {"batch_size": "x", "window_size": 1, "query_text": "other", "is_thinking": True, "base_url": 3}
    assert order(Reranker(coordinator).rerank(request(), 0, 100, True, True, **kwargs)) == best(odds)


def test_async(coordinator, odds):
    async def both():
        one = Reranker(coordinator).rerank_async(request())
        many = Reranker(coordinator).rerank_batch_async([request(), request()])
        return await asyncio.gather(one, many)

    one, many = asyncio.run(both())
    assert order(one) == order(many[0]) == order(many[1]) == best(odds)


def test_the_history_has_prompts_and_responses(coordinator, odds, tmp_path):
    reranker = Reranker(coordinator)
    results = reranker.rerank_batch([request()], populate_invocations_history=True)
    history = results[0].invocations_history
    assert len(history) == 4
    for text, invocation, value in zip(TEXTS, history, odds, strict=True):
        assert f"Query: {QUERY}\nPassage: {text}\n<think>" in invocation.prompt
        assert invocation.response == (" true" if value > 0 else " false")
        assert invocation.input_token_count > 20 and invocation.output_token_count == 1
        assert invocation.reasoning is None
    files = {name: str(tmp_path / name) for name in ("out.txt", "out.jsonl", "history.json")}
    reranker.write_rerank_results(
        "bm25",
        results,
        output_trec_file=files["out.txt"],
        output_jsonl_file=files["out.jsonl"],
        invocations_history_file=files["history.json"],
    )
    lines = [line.split() for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [line[2] for line in lines] == best(odds)
    assert json.loads((tmp_path / "history.json").read_text())[0]["invocations_history"][0]["response"] in (
        " true",
        " false",
    )


def test_default_names_of_result_files(coordinator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reranker = Reranker(coordinator)
    name = reranker.write_rerank_results("bm25", [reranker.rerank(request())], dataset_name="cacm", top_k_candidates=20)
    assert name == "rerank_results/bm25/limrank-smol_20_cacm_vllm.txt"
    assert (tmp_path / name).is_file()


def test_thinking_fills_the_reasoning():
    thinker = ours.LimRankCoordinator("limrank-smol", think="always", budget=6)
    (result,) = thinker.rerank_batch([request(texts=TEXTS[:1])], populate_invocations_history=True)
    (invocation,) = result.invocations_history
    assert invocation.reasoning and 1 < invocation.output_token_count <= 8
    assert invocation.response.startswith(invocation.reasoning) and "</think>" in invocation.response


def test_fused_with_the_first_stages_scores(limrank, odds):
    result = ours.LimRankCoordinator(limrank, fuse=0.5).rerank(request())
    scores = fuse({"first": [9.0, 8.0, 7.0, 6.0], "limrank": odds})
    assert order(result) == best(scores.tolist())


DOCUMENTS = {
    "text before contents": ({"contents": "no", "text": "yes"}, "yes"),
    "segment": ({"body": "no", "segment": "yes"}, "yes"),
    "an empty text before contents": ({"text": "", "segment": " ", "contents": "yes"}, "yes"),
    "no text before contents": ({"text": None, "contents": "yes"}, "yes"),
    "LangChain's": ({"page_content": "yes"}, "yes"),
    "title": ({"contents": "body", "title": "head"}, "Title: head Content: body"),
    "an empty title": ({"contents": "body", "title": ""}, "body"),
    "as it is": ({"passage": " a[1]\n\n  b "}, " a[1]\n\n  b "),
    "a text": ("plain", "plain"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_text_of_a_document(name):
    document, text = DOCUMENTS[name]
    asked = request(texts=["x"])
    asked.candidates[0].doc = document
    assert ours.document_text(asked, 0) == text


@pytest.mark.parametrize("document", [{}, {"contents": None}, {"contents": " "}, "", None, {"id": "x"}])
def test_a_candidate_without_text_is_named(coordinator, document):
    asked = request()
    asked.candidates[2].doc = document
    with pytest.raises(LimRankError, match="query 'q1': candidate 'd2' has no text"):
        Reranker(coordinator).rerank(asked)


def test_a_request_without_a_query_is_named(coordinator):
    with pytest.raises(LimRankError, match=r"request 1 \(qid 'q2'\) has no query"):
        Reranker(coordinator).rerank_batch([request(), request("q2", " ")])


@pytest.mark.parametrize("candidates", [5, None, "abc", {"docid": "d"}])
def test_candidates_that_are_not_a_list_are_refused(coordinator, candidates):
    asked = data.Request(query=data.Query(text=QUERY, qid="q"), candidates=candidates)
    with pytest.raises(InputError, match=r"^request 0 \(qid 'q'\): candidates is .*; give a list"):
        Reranker(coordinator).rerank_batch([asked])


def test_generators_are_read_once(limrank, odds):
    (result,) = ours.LimRankCoordinator(limrank).rerank_batch(
        data.Request(query=each.query, candidates=iter(each.candidates)) for each in [request()]
    )
    assert order(result) == best(odds)


def test_a_repeated_candidate_counts_once(limrank, odds, caplog):
    asked = request()
    asked.candidates[1:1] = [copy.deepcopy(asked.candidates[0])]  # otherwise, the window of 2 would contain d0 twice
    before = copy.deepcopy(asked)
    coordinator = ours.LimRankCoordinator(limrank, fuse=0.5)
    (result,) = coordinator.rerank_batch([asked], rank_end=2)
    assert asked == before
    assert sorted(order(result)[:2]) == ["d0", "d1"] and order(result)[2:] == ["d2", "d3"]
    fused = fuse({"first": [9.0, 8.0], "limrank": odds[:2]})
    assert [candidate.score for candidate in result.candidates][:2] == pytest.approx(sorted(fused)[::-1], abs=1e-3)
    assert caplog.messages == ["requests: 1 candidates are repeated for the same query and count once"]


def test_two_passages_of_one_document_both_count(coordinator):
    asked = request(texts=TEXTS[:2])
    asked.candidates[1].docid = "d0"
    assert order(Reranker(coordinator).rerank(asked)) == ["d0", "d0"]


def test_options_together_with_a_limrank_are_refused(limrank):
    with pytest.raises(LimRankError, match="think: set these on the LimRank itself"):
        ours.LimRankCoordinator(limrank, think="always")


# Requests on disk


def test_requests_whose_documents_are_strings_are_read_too(tmp_path, coordinator):
    lines = [
        {"query": {"text": QUERY, "qid": 1}, "candidates": [{"docid": "a", "score": 2, "doc": "copies a file"}]},
        {"query": {"text": QUERY, "qid": "2"}, "candidates": [{"docid": 3, "score": 1.5, "doc": {"text": "x"}}]},
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(Exception, match="dict"):
        data.read_requests_from_file(str(path))  # RankLLM's own reader
    found = ours.read_requests(path)
    assert [asked.query.qid for asked in found] == [1, "2"]
    assert found[0].candidates[0].doc == {"contents": "copies a file"}
    assert len(Reranker(coordinator).rerank_batch(found)) == 2
    path.write_text(json.dumps(lines))
    assert ours.read_requests(path) == found
    path.write_text(json.dumps(lines[0]) + '\n{"query": {"text": "q"}}\n')
    with pytest.raises(LimRankError, match=r"requests\.jsonl:2: not a request \("):
        ours.read_requests(path)


SHAPES = {
    "other names of ids": (
        {"id": "q"},
        [{"pid": 7, "score": 1, "doc": {"text": "x"}}],
        data.Candidate(7, 1, {"text": "x"}),
    ),
    "texts alone": ({"qid": "q"}, ["x"], data.Candidate("1", 0.0, {"contents": "x"})),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_of_requests(tmp_path, name):
    query, candidates, expected = SHAPES[name]
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({"query": {"text": QUERY, **query}, "candidates": candidates}))
    (found,) = ours.read_requests(path)
    assert (found.query.qid, found.candidates) == ("q", [expected])


MALFORMED = {
    "5": "candidates is 5, not a list",
    "null": "candidates is null, not a list",
    '"abc"': 'candidates is "abc", not a list',
    '{"docid": "d"}': 'candidates is {"docid": "d"}, not a list',
    '["x", 5]': "candidate 2 is 5, not an object",
    "[null]": "candidate 1 is null, not an object",
    '[{"docid": "d", "doc": "x"}]': 'missing value for field "candidates.score"',
    '[{"score": 1, "doc": "x"}]': 'missing value for field "candidates.docid"',
    '[{"docid": "d", "score": 1}]': 'wrong value type for field "candidates.doc"',
    '[{"docid": "d", "score": 1, "doc": ["x"]}]': 'wrong value type for field "candidates.doc"',
}


@pytest.mark.parametrize("candidates", MALFORMED)
def test_a_malformed_request_is_one_line(tmp_path, candidates):
    path = tmp_path / "requests.jsonl"
    path.write_text('{"query": {"text": "q", "qid": "1"}, "candidates": ' + candidates + "}")
    with pytest.raises(InputError) as caught:
        ours.read_requests(path)
    line = str(caught.value)
    assert line.startswith(f"{path}:1: ") and MALFORMED[candidates] in line and "\n" not in line and len(line) < 500


@pytest.mark.parametrize("query", ["5", "null", '"text"', '{"text": "q"}', '{"qid": "q"}', '{"text": 5, "qid": "q"}'])
def test_a_query_of_the_wrong_shape_is_one_line(tmp_path, query):
    path = tmp_path / "requests.jsonl"
    path.write_text('{"candidates": ["x"], "query": ' + query + "}")
    with pytest.raises(InputError, match=r"requests\.jsonl:1: not a request \("):
        ours.read_requests(path)


# RankLLM's command line and server


@pytest.fixture
def registered():
    ours.register()
    yield
    ours.unregister()


def test_register_twice_and_undo():
    theirs = Reranker.create_model_coordinator
    ours.register()
    ours.register()
    made = Reranker.create_model_coordinator("limrank-smol", None, False, device="cuda", context_size=4096)
    assert isinstance(made, ours.LimRankCoordinator) and made.limrank.think == "never"
    thinking = Reranker.create_model_coordinator(
        "limrank:limrank-smol-untrained", None, False, is_thinking=True, reasoning_token_budget=7
    )
    assert (thinking.limrank.think, thinking.limrank.budget) == ("always", 7)
    assert thinking.get_name() == "limrank-smol-untrained"
    assert Reranker.create_model_coordinator("rank_identity", None, False) is None  # theirs
    with pytest.raises(LimRankError, match="unknown model 'nothing'"):
        Reranker.create_model_coordinator("limrank:nothing", None, False)
    with pytest.raises(LimRankError, match="unknown model 'limrank-smoll'"):
        Reranker.create_model_coordinator("limrank-smoll", None, False)
    ours.unregister()
    ours.unregister()
    assert Reranker.create_model_coordinator is theirs


def test_the_command_line(tmp_path):
    asked = {"query": QUERY, "candidates": TEXTS}
    command = ["rerank", "--model-path", "limrank-smol", "--stdin"]
    made = subprocess.run(
        [sys.executable, "-m", "limrank_ir", "rank-llm", "--output", "json", *command],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    answer = json.loads(made.stdout)
    (result,) = answer["artifacts"][0]["value"]
    assert result["candidates"][0]["doc"] == {"contents": TEXTS[2]}
    assert len(result["candidates"]) == 4


def test_the_server(registered):
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient
    from rank_llm.api.app import create_app
    from rank_llm.api.runtime import ServerConfig

    client = TestClient(create_app(ServerConfig(model_path="limrank-smol")))
    answer = client.post("/v1/rerank", json={"query": QUERY, "candidates": TEXTS})
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["artifacts"][0]["value"]
    assert result["candidates"][0]["doc"] == {"contents": TEXTS[2]}


def test_langchains_wrapper(coordinator, odds):
    wrapper = pytest.importorskip("langchain_community.document_compressors.rankllm_rerank")
    from langchain_core.documents import Document

    documents = [Document(page_content=text, metadata={"place": place}) for place, text in enumerate(TEXTS)]
    reranked = wrapper.RankLLMRerank(client=Reranker(coordinator), top_n=3).compress_documents(documents, QUERY)
    assert [f"d{document.metadata['place']}" for document in reranked] == best(odds)[:3]


def test_without_rank_llm_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rank_llm.cli.main", None)
    with pytest.raises(LimRankError, match=r"RankLLM is not installed .*limrank-ir\[rank-llm\]"):
        ours.main(["--help"])
