"""`LimRankReranker(ranker=...)`."""

from __future__ import annotations

import pandas as pd
import pyterrier as pt
import pytest
from pandas.testing import assert_frame_equal

from limrank_ir import LimRank, LimRankError
from limrank_ir.pyterrier import LimRankReranker
from limrank_ir.rankers.setwise import Setwise
from tests.asked import Knows

SHARED = LimRank()  # no weights are loaded yet


@pt.testing.transformer_test_class
def TestSetwise():
    return LimRankReranker(SHARED, ranker="setwise:top=2,window=3", set_formats=["setwise-numbers"])


@pt.testing.transformer_test_class
def TestTopK():
    return LimRankReranker(LimRank(engine=Knows()), ranker="listwise", top_k=3)


@pytest.fixture
def results() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "qid": ["2", "1", "2", "1", "2"],
            "query": ["two", "one", "two", "one", "two"],
            "docno": ["a", "b", "c", "d", "e"],
            "text": ["p 3", "p 1", "p 9", "p 2", "p 5"],
            "score": [1.0, 8.0, 3.0, 4.0, 2.0],
            "rank": [2, 0, 0, 1, 1],
            "note": list("vwxyz"),
        },
        index=[7, 3, 5, 1, 7],
    )


def knowing(ranker, **options):
    return LimRankReranker(LimRank(engine=Knows()), ranker=ranker, **options)


@pytest.mark.parametrize("ranker", ["setwise", "listwise", "first", "graded:highest=4", "icr", Setwise(), "two-stages"])
def test_rows_are_kept_and_score_and_rank_are_those_of_the_order(results, ranker):
    results["text"] = ["p 1", "p 1", "p 3", "p 2", "p 2"]
    before = results.copy(deep=True)
    out = knowing(ranker).transform(results)
    assert_frame_equal(results, before)
    assert list(out.columns) == ["qid", "query", "docno", "text", "note", "score", "rank"]
    assert out.index.equals(before.index) and out["docno"].tolist() == before["docno"].tolist()
    assert out["rank"].tolist() == [2, 1, 0, 0, 1]
    assert out["score"].dtype == "float64" and out.groupby("qid")["score"].nunique().tolist() == [2, 3]


def test_all_queries_are_asked_together():
    engine = Knows()
    frame = pd.DataFrame(
        [(f"q{n}", f"query {n}", f"d{place}", f"p {place}") for n in range(9) for place in range(4)],
        columns=["qid", "query", "docno", "text"],
    )
    out = LimRankReranker(LimRank(engine=engine), ranker="listwise").transform(frame)
    assert len(engine.calls) == 1 and len(engine.asked) == 9
    assert out["rank"].tolist() == [3, 2, 1, 0] * 9


def test_the_first_stages_order_and_scores_reach_the_ranker(results):
    same = results.assign(text="p 1")  # ties keep the order of the first stage
    for frame in (same, same.drop(columns=["rank"]), same.drop(columns=["score"])):
        assert knowing("setwise").transform(frame)["rank"].tolist() == [2, 0, 0, 1, 1]
    assert knowing("setwise").transform(same.drop(columns=["rank", "score"]))["rank"].tolist() == [0, 0, 1, 1, 2]
    first = knowing("groupwise:share=0").transform(results)
    assert first["rank"].tolist() == [2, 0, 0, 1, 1] and first["score"].max() == 1.0
    results.loc[3, "score"] = float("nan")
    with pytest.raises(LimRankError, match=r"no finite 'score', which rankers may use, for qid '1', docno 'b'"):
        knowing("setwise").transform(results)


def test_instructions_reach_the_prompts_and_differ_between_queries_only(results):
    engine = Knows()
    reranker = LimRankReranker(LimRank(engine=engine), ranker="listwise")
    reranker.transform(results.assign(instruction=["recipes", None, "recipes", None, "recipes"]))
    assert ["recipes" in prompt.text for prompt in engine.asked] == [True, False]
    with pytest.raises(LimRankError, match="qid '2' has several values of 'instruction'; a ranker needs one"):
        reranker.transform(results.assign(instruction=["recipes", None, "cakes", None, None]))
    with pytest.raises(LimRankError, match="qid '1' has several values of 'query'"):
        reranker.transform(results.assign(query=["two", "one", "two", "uno", "two"]))


def test_top_k_cuts_before_the_ranker(results):
    out = knowing("listwise", top_k=2).transform(results)
    assert out["docno"].tolist() == ["b", "c", "d", "e"]
    assert isinstance(knowing("listwise", top_k=2).compile()[0], pt.RankCutoff)


def test_missing_texts_and_empty_frames(results):
    results.loc[5, "text"] = None
    with pytest.raises(LimRankError, match="no 'text' for qid '2', docno 'c'"):
        knowing("setwise").transform(results)
    empty = LimRankReranker(ranker="setwise").transform(results.head(0))
    assert list(empty.columns) == ["qid", "query", "docno", "text", "note", "score", "rank"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranker": "setwize"}, "did you mean setwise"),
        ({"ranker": "setwise", "fuse": True}, "fuse=True does not go with ranker='setwise', which gives an order"),
        ({"ranker": "setwise", "explain": True}, "explain=True does not go with"),
        ({"ranker": "setwise", "score": "probability"}, "score='probability' does not go with"),
        ({"ranker": "setwise", "set_formats": ["rank-r1"]}, "rank-r1 has no effect with setwise"),
        ({"set_formats": ["setwise"]}, "set_formats has no effect without ranker"),
    ],
)
def test_options_without_sense_are_refused_at_once(options, message):
    with pytest.raises(LimRankError, match=message):
        LimRankReranker(**options)


def test_transformers_with_the_same_ranker_are_equal():
    first = LimRankReranker(ranker="setwise:top=10,window=3", set_formats=["setwise-numbers"])
    assert first == LimRankReranker(ranker=Setwise(window=3), set_formats=["setwise-numbers"])
    assert eval(repr(first)) == first and "ranker='setwise:top=10,window=3'" in repr(first)
    for other in (LimRankReranker(), LimRankReranker(ranker="setwise:window=3"), LimRankReranker(ranker="setwise")):
        assert first != other


def test_verbose_draws_a_bar_of_queries(results, capsys):
    knowing("listwise", verbose=True).transform(results)
    assert "2/2" in capsys.readouterr().err
