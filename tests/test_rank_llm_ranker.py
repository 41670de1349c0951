"""`LimRankCoordinator(ranker=...)` in the real RankLLM."""

from __future__ import annotations

import copy

import pytest

from limrank_ir import InputError, LimRank
from tests.asked import Knows

data = pytest.importorskip("rank_llm.data", reason="RankLLM is not installed")

from rank_llm.rerank import Reranker  # noqa: E402

from limrank_ir import rank_llm as ours  # noqa: E402


def request(qid, grades):
    candidates = [
        data.Candidate(f"d{place}", 9.0 - place, {"text": f"p {grade}"}) for place, grade in enumerate(grades)
    ]
    return data.Request(query=data.Query(text=f"query {qid}", qid=qid), candidates=candidates)


def reranker(engine, ranker, **options):
    return Reranker(ours.LimRankCoordinator(LimRank(engine=engine), ranker=ranker, **options))


def order(result):
    return [candidate.docid for candidate in result.candidates]


@pytest.mark.parametrize("ranker", ["listwise", "setwise:top=4", "groupwise:share=1"])
def test_all_requests_are_ranked_together_and_scores_strictly_decrease(ranker):
    requests = [request("a", [1, 7, 3]), request("b", [5, 2, 9, 4]), request("c", [])]
    before = copy.deepcopy(requests)
    results = reranker(engine := Knows(), ranker).rerank_batch(requests, window_size=2, stride=1)
    assert requests == before and len(engine.calls) <= 6
    assert [order(result) for result in results] == [["d1", "d2", "d0"], ["d2", "d0", "d3", "d1"], []]
    for result in results:
        scores = [candidate.score for candidate in result.candidates]
        assert scores == sorted(set(scores), reverse=True) and result.invocations_history == []


def test_a_window_is_reranked_and_the_others_keep_their_places():
    found = reranker(Knows(), "listwise").rerank(request("a", [1, 2, 3, 4, 9]), rank_start=1, rank_end=4)
    assert order(found) == ["d0", "d3", "d2", "d1", "d4"]


def test_the_candidates_scores_and_the_instruction_reach_the_ranker():
    assert order(reranker(Knows(), "groupwise:share=0").rerank(request("a", [1, 2, 3]))) == ["d0", "d1", "d2"]
    reranker(engine := Knows(), "listwise", instruction="only recipes").rerank(request("a", [1, 2]))
    assert "only recipes" in engine.asked[0].text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranker": "listwize"}, "did you mean listwise"),
        ({"ranker": "listwise", "fuse": True}, "fuse=True does not go with ranker='listwise'"),
        ({"ranker": "listwise", "set_formats": ["setwise"]}, "setwise has no effect with listwise"),
        ({"set_formats": ["setwise"]}, "set_formats has no effect without ranker"),
    ],
)
def test_options_without_sense_are_refused_at_once(options, message):
    with pytest.raises(InputError, match=message):
        ours.LimRankCoordinator(**options)


def test_a_model_path_can_name_a_ranker():
    found = ours.coordinator("limrank-smol@setwise:top=3")
    assert found.get_name() == "limrank-smol" and found._ranker.top == 3
    with pytest.raises(InputError, match="did you mean setwise"):
        ours.coordinator("limrank:limrank-smol@setwize")
    assert ours.coordinator("limrank-smol")._ranker is None
