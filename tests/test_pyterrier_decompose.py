"""Sub-questions in PyTerrier: they retrieve, their pools are merged, and scores are pooled by maximum or mean."""

from __future__ import annotations

import json
import logging

import pandas as pd
import pyterrier as pt
import pytest
from pandas.testing import assert_frame_equal

from limrank_ir import EngineError, InputError, LimRank
from limrank_ir.llm.journal import Journal
from limrank_ir.pyterrier import Decompose, LimRankReranker, MergePools, SubQuestions
from tests.asked import Knows
from tests.chat_server import said, serving

TOPICS = pd.DataFrame({"qid": ["q1", "a/b"], "query": ["x and y", "z"]})
PARTS = {"x and y": ["is x 1", "is y 2"], "z": []}


def by_hand(query: str) -> list[str]:
    return PARTS[query]


@pt.testing.transformer_test_class
def TestDecompose():
    return Decompose(lambda query: [query, f"{query} again"])


@pt.testing.transformer_test_class
def TestMergePools():
    return MergePools()


@pytest.fixture
def pools() -> pd.DataFrame:
    """What three sub-questions have found."""
    rows = [
        ("q1/0", "x and y", "d1", 9.0, 0, "c1"),
        ("q1/0", "x and y", "d2", 8.0, 1, "c2"),
        ("q1/1", "is x 1", "d3", 1.0, 0, "c3"),
        ("q1/1", "is x 1", "d1", 0.5, 1, "c4"),
        ("q1/2", "is y 2", "d2", 3.0, 0, "c5"),
        ("a/b/0", "z", "d1", 2.0, 0, "c6"),
    ]
    frame = pd.DataFrame(rows, columns=["qid", "query", "docno", "score", "rank", "note"])
    frame["query_0"] = ["x and y"] * 5 + ["z"]
    return frame.iloc[[3, 5, 0, 4, 2, 1]].set_axis([7] * 6)


def test_topics_become_sub_topics_that_know_their_query():
    before = TOPICS.copy(deep=True)
    out = Decompose(by_hand).transform(TOPICS)
    assert_frame_equal(TOPICS, before)
    assert out[["qid", "query", "query_0"]].to_numpy().tolist() == [
        ["q1/0", "x and y", "x and y"],
        ["q1/1", "is x 1", "x and y"],
        ["q1/2", "is y 2", "x and y"],
        ["a/b/0", "z", "z"],
    ]
    alone = Decompose(by_hand, original=False).transform(TOPICS)
    assert alone["qid"].tolist() == ["q1/1", "q1/2", "a/b/0"]
    twice = Decompose(lambda query: ["is x 1"]).transform(out.assign(query_vec=0))
    assert "query_vec" not in twice and set(twice["query_1"]) == {"x and y", "z"}
    assert twice["qid"].tolist()[:3] == ["q1/0/0", "q1/0/1", "q1/1/0"]


def test_pools_are_merged_by_the_best_rank(pools):
    before = pools.copy(deep=True)
    out = MergePools().transform(pools)
    assert_frame_equal(pools, before)
    assert out[["qid", "query", "docno", "score", "rank", "note"]].to_numpy().tolist() == [
        ["q1", "x and y", "d1", 3.0, 0, "c1"],
        ["q1", "x and y", "d3", 2.0, 1, "c3"],
        ["q1", "x and y", "d2", 1.0, 2, "c5"],
        ["a/b", "z", "d1", 1.0, 0, "c6"],
    ]
    assert "query_0" not in out and not out.duplicated(["qid", "docno"]).any()


def test_scores_are_pooled_by_maximum_or_mean(pools):
    best = MergePools("max").transform(pools)
    assert best[["docno", "score"]].to_numpy().tolist() == [["d1", 9.0], ["d2", 8.0], ["d3", 1.0], ["d1", 2.0]]
    with pytest.raises(InputError, match="qid 'q1', docno 'd1' has 2 scores for 3 sub-questions; score each"):
        MergePools("mean").transform(pools)
    full = pools[pools["docno"].isin(["d1", "d2"]) & pools["qid"].isin(["q1/0", "q1/1", "a/b/0"])]
    full = pd.concat([full, full[full["docno"] == "d2"].assign(qid="q1/1", score=100.0)])
    mean = MergePools("mean").transform(full)
    assert mean[["qid", "docno", "score", "rank"]].to_numpy().tolist() == [
        ["q1", "d2", 54.0, 0],
        ["q1", "d1", 4.75, 1],
        ["a/b", "d1", 2.0, 0],
    ]


def test_a_pipeline_of_each_order():
    texts = {"d1": "p 1", "d2": "p 5", "d3": "p 3"}
    first = {"x and y": ["d1"], "is x 1": ["d1", "d3"], "is y 2": ["d2"], "z": ["d3"]}

    def found(row):
        return pd.DataFrame(
            {"docno": first[row["query"].iloc[0]], "score": [9.0, 8.0][: len(first[row["query"].iloc[0]])]}
        )

    retrieve = pt.apply.by_query(lambda row: pd.DataFrame([row.iloc[0].to_dict()]).merge(found(row), how="cross"))
    ranked = retrieve >> pt.apply.generic(pt.model.add_ranks)
    text = pt.apply.text(lambda row: texts[row["docno"]])
    limrank = LimRankReranker(LimRank(engine=Knows()), ranker="setwise:top=3")
    out = (Decompose(by_hand) >> ranked >> MergePools() >> text >> limrank).transform(TOPICS)
    assert out.sort_values(["qid", "rank"])["docno"].tolist() == ["d3", "d2", "d3", "d1"]
    assert set(out["query"]) == {"x and y", "z"}
    everything = pt.apply.generic(lambda frame: frame.merge(pd.DataFrame({"docno": list(texts)}), how="cross"))
    scored = everything >> text >> Decompose(by_hand) >> LimRankReranker(LimRank(engine=Knows()))
    out = (scored >> MergePools("mean")).transform(TOPICS)
    assert out["docno"].tolist() == ["d2", "d3", "d1"] * 2 and out["rank"].tolist() == [0, 1, 2] * 2


def test_a_model_is_asked_once_and_its_answers_are_saved(tmp_path, caplog):
    def answer(body):
        text = body["messages"][0]["content"].rsplit("Question: ", 1)[1]
        return said({"x and y": '<think>[]</think>```json\n["is x 1", "is  y 2", "is x 1", "c"]\n```'}.get(text, "No."))

    with serving(answer, faults={"429": 0.5}) as server, caplog.at_level(logging.WARNING, "limrank_ir"):
        split = SubQuestions("m", base_url=server.url, journal=tmp_path / "j.sqlite", most=2)
        out = Decompose(split).transform(TOPICS)
    assert out["query"].tolist() == ["x and y", "is x 1", "is y 2", "z"]
    assert "m: 1 of 2 answers are no list of sub-questions; these queries are used alone, such as 'z'" in caplog.text
    assert (split.stats.requests, split.stats.unusable, split.stats.prompt_tokens) == (2, 1, 200)
    assert "at most 2" in server.asked[0]["messages"][0]["content"]
    again = SubQuestions("m", base_url=server.url, journal=tmp_path / "j.sqlite", most=2)  # it is gone
    assert_frame_equal(Decompose(again).transform(TOPICS), out)
    assert (again.stats.requests, again.stats.saved) == (0, 2)


@pytest.mark.parametrize(
    "text", ["", "I cannot help.", '{"a": 1}', '["a", 1]', "[" * 5000, '<think>["a"]', '"a"'], ids=range(7)
)
def test_what_is_no_list_is_counted_and_never_used(tmp_path, text, caplog):
    with serving(lambda body: said(text)) as server:
        split = SubQuestions("m", base_url=server.url, journal=tmp_path / "j.sqlite")
        assert split(["q"]) == [[]] and split.stats.unusable == 1 and "used alone" in caplog.text


def test_what_was_answered_before_a_fault_is_on_disk(tmp_path):
    def answer(body):
        if body["messages"][0]["content"].endswith("Question: q3"):
            return {"error": {"message": "broken", "code": 400}}
        return said(json.dumps(["a"]))

    with serving(answer) as server:
        split = SubQuestions("m", base_url=server.url, journal=tmp_path / "j.sqlite", concurrency=1)
        with pytest.raises((EngineError, InputError), match="broken"):
            split([f"q{number}" for number in range(6)])
    journal = Journal(tmp_path / "j.sqlite")
    assert len(journal) == 3 and len(server.asked) == 4
    assert split([]) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Decompose(lambda query: query).transform(TOPICS), "gives 'x and y' for the query.*list of texts"),
        (lambda: Decompose(lambda query: [None]).transform(TOPICS), "it must be a list of texts"),
        (lambda: Decompose(lambda query: None).transform(TOPICS), "gives None for the query 'x and y'"),
        (lambda: Decompose(by_hand).transform(TOPICS.assign(query=None)), "no query for qid 'q1'"),
        (lambda: MergePools("sum"), "merged by 'sum'; choose rank, max, mean"),
        (lambda: SubQuestions("m", journal="j", prompt="?"), r"has no \{query\}"),
        (lambda: SubQuestions("m", journal="j", most=0), "most is 0"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_merging_needs_the_frames_of_sub_questions(pools):
    with pytest.raises(InputError, match="'q1' is no qid of a sub-question, such as q1/2; put Decompose in front"):
        MergePools().transform(pools.assign(qid="q1"))
    with pytest.raises(pt.validate.InputValidationError, match="query_0"):
        MergePools().transform(pools.drop(columns="query_0"))
    with pytest.raises(InputError, match="no finite 'score'"):
        MergePools("max").transform(pools.assign(score=float("nan")))
    assert list(MergePools().transform(pools.iloc[:0]).columns) == ["qid", "docno", "score", "note", "query", "rank"]
