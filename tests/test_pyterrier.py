"""LimRankReranker and SlidingWindows under PyTerrier's own transformer tests, with the real small model."""

from __future__ import annotations

import warnings

import ir_measures
import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import nDCG
from pandas.testing import assert_frame_equal

from limrank_ir import LimRank, LimRankError, fuse
from limrank_ir.pyterrier import DenseScores, LimRankReranker, SlidingWindows
from limrank_ir.retrieval.similarity import DenseScorer

THREE = {"score": 1, "minilm": 1, "limrank": 2}
SHARED = LimRank()  # no weights are loaded yet; the transformers below share them


@pt.testing.transformer_test_class
def TestPlain():
    return LimRankReranker(SHARED)


@pt.testing.transformer_test_class
def TestExplainOtherField():
    return LimRankReranker(SHARED, explain=True, text_field="body", score="probability")


@pt.testing.transformer_test_class
def TestTopK():
    return LimRankReranker(SHARED, top_k=3)


@pt.testing.transformer_test_class
def TestFuse():
    return LimRankReranker(SHARED, fuse=True, explain=True)


@pt.testing.transformer_test_class
def TestFuseTopK():
    return LimRankReranker(SHARED, fuse=THREE, top_k=3)


@pt.testing.transformer_test_class
def TestDenseScores():
    return DenseScores(column="cosine", text_field="body")


@pt.testing.transformer_test_class
def TestInAPipeline():
    return LimRankReranker(SHARED) % 5


@pt.testing.transformer_test_class
def TestSliding():
    return SlidingWindows(2, 1, title_field="title")


@pytest.fixture
def results() -> pd.DataFrame:
    texts = ["os.fsync forces a file to disk", "a cake needs flour", "shutil.copy copies a file", "a cake needs flour"]
    return pd.DataFrame(
        {
            "qid": ["2", "2", "1", "1"],
            "query": ["save my file for sure", "save my file for sure", "duplicate a file", "duplicate a file"],
            "docno": ["d1", "d2", "d3", "d2"],
            "text": texts,
            "score": [3.0, 2.0, 5.0, 1.0],
            "rank": [0, 1, 0, 1],
            "note": ["w", "x", "y", "z"],
        },
        index=[7, 3, 5, 1],
    )


def test_rows_order_index_and_columns_are_kept(results):
    before = results.copy(deep=True)
    out = LimRankReranker(SHARED).transform(results)
    assert_frame_equal(results, before)
    assert list(out.columns) == ["qid", "query", "docno", "text", "note", "score", "rank"]
    assert_frame_equal(
        out[["qid", "query", "docno", "text", "note"]], before[["qid", "query", "docno", "text", "note"]]
    )
    assert out["score"].dtype == "float64" and out["rank"].dtype == "int64"
    scores = SHARED.predict(list(zip(before["query"], before["text"], strict=True)))
    assert out["score"].tolist() == pytest.approx(scores.tolist(), abs=1e-3)
    for _, group in out.groupby("qid"):
        assert group.sort_values("score", ascending=False)["rank"].tolist() == [0, 1]


def test_inspection_empty_frames_and_drawing_load_no_weights(monkeypatch):
    loaded = property(lambda _: pytest.fail("weights were loaded"))
    monkeypatch.setattr("limrank_ir.engines.local.LocalEngine._loaded", loaded)
    reranker = LimRankReranker(explain=True, device="cpu")
    assert pt.inspect.transformer_inputs(reranker) == [["qid", "docno", "query", "text"]]
    columns = ["qid", "docno", "query", "text", "score", "rank"]
    empty = reranker.transform(pd.DataFrame(columns=columns))
    assert list(empty.columns) == ["qid", "docno", "query", "text", "score", "reasoning", "rank"]
    assert list(empty.columns) == pt.inspect.transformer_outputs(reranker, columns)
    assert empty["score"].dtype == "float64" and empty["rank"].dtype == "int64"
    assert "LimRank" in pt.schematic.draw(reranker)
    assert pt.inspect.transformer_attributes(reranker)


def test_missing_text_or_column_is_an_error(results):
    with pytest.raises(pt.validate.InputValidationError, match="text"):
        LimRankReranker(SHARED).transform(results.drop(columns=["text"]))
    results.loc[3, "text"] = None
    with pytest.raises(LimRankError, match=r"no 'text' for qid '2', docno 'd2' \(1 rows\)"):
        LimRankReranker(SHARED).transform(results)


def test_explain_keeps_the_thought(results):
    thinking = LimRankReranker(LimRank(think="always", budget=6), explain=True)
    out = thinking.transform(results.head(2))
    assert out["reasoning"].str.len().gt(0).all()
    assert LimRankReranker(SHARED, explain=True).transform(results)["reasoning"].isna().all()


def test_instructions_reach_the_prompt(results):
    plain = LimRankReranker(SHARED).transform(results)["score"]
    asked = LimRankReranker(SHARED).transform(results.assign(instruction=["only recipes", None, None, None]))["score"]
    assert abs(asked[7] - plain[7]) > 1e-3
    assert asked[[3, 5, 1]].tolist() == pytest.approx(plain[[3, 5, 1]].tolist(), abs=1e-3)


def test_transformers_with_the_same_output_are_equal():
    first = LimRankReranker("limrank-smol", verbose=True, batch_size=4)
    assert first == LimRankReranker("limrank-smol") and hash(first) == hash(LimRankReranker("limrank-smol"))
    for other in (
        LimRankReranker(SHARED),
        LimRankReranker(explain=True),
        LimRankReranker(text_field="body"),
        LimRankReranker(think="always"),
        LimRankReranker(score="probability"),
        LimRankReranker(top_k=2),
        LimRankReranker(fuse=True),
        LimRankReranker(fuse=0.0),
        "limrank-smol",
    ):
        assert first != other
    assert repr(LimRankReranker(explain=True, top_k=3)) == "LimRankReranker('limrank-smol', explain=True, top_k=3)"
    assert LimRankReranker(fuse=True) == LimRankReranker(fuse=0.7) != LimRankReranker(fuse=1.0)
    assert LimRankReranker(fuse={"score": 2, "limrank": 2}) == LimRankReranker(fuse=0.5) != LimRankReranker(fuse=THREE)
    for fused in [LimRankReranker(fuse=option) for option in (True, 0.0, 1.0, THREE)]:
        assert eval(repr(fused)) == fused and "fuse=" in repr(fused)
    assert eval(repr(LimRankReranker(think="always", budget=9))) == LimRankReranker(think="always", budget=9)


def test_top_k_compiles_to_a_cutoff(results):
    reranker = LimRankReranker(SHARED, top_k=1)
    compiled = reranker.compile()
    assert isinstance(compiled[0], pt.RankCutoff) and compiled[0].k == 1
    out = reranker.transform(results)
    assert out["docno"].tolist() == ["d1", "d3"] and out["rank"].tolist() == [0, 0]
    assert_frame_equal(compiled(results).reset_index(drop=True), out.reset_index(drop=True))
    assert LimRankReranker(SHARED).compile() == LimRankReranker(SHARED)


def test_fuse_uses_the_frames_scores_query_by_query(results):
    results = results.iloc[[0, 2, 1, 3]]  # rows of the two queries alternate
    plain = LimRankReranker(SHARED).transform(results)
    for option, weight in ((True, 0.5), (0.8, 0.8)):
        out = LimRankReranker(SHARED, fuse=option).transform(results)
        for qid, group in out.groupby("qid"):
            odds, found = (frame[frame["qid"] == qid]["score"] for frame in (plain, results))
            expected = fuse({"score": found, "limrank": odds}, {"score": 1 - weight, "limrank": weight})
            assert group["score"].tolist() == pytest.approx(expected.tolist(), abs=1e-3)
        assert_frame_equal(out, pt.model.add_ranks(out.copy()))
        assert list(out.columns) == list(plain.columns) and out.index.equals(results.index)
    assert LimRankReranker(SHARED, fuse=1.0).transform(results)["rank"].equals(plain["rank"])
    assert LimRankReranker(SHARED, fuse=0.0).transform(results)["rank"].equals(results["rank"])
    assert not LimRankReranker(SHARED, fuse=False).transform(results)["score"].eq(out["score"]).any()


def test_columns_of_earlier_stages_are_fused_by_their_weights(results):
    plain = LimRankReranker(SHARED).transform(results)
    stage = DenseScores() >> LimRankReranker(SHARED, fuse=THREE)
    assert pt.inspect.transformer_inputs(stage[1]) == [["qid", "docno", "query", "text", "score", "minilm"]]
    assert set(pt.inspect.transformer_outputs(stage, list(results.columns))) == {*results.columns, "minilm"}
    out = stage(results)
    assert out.drop(columns="minilm").columns.tolist() == plain.columns.tolist() and out.index.equals(results.index)
    expected = DenseScorer().predict(list(zip(results["query"], results["text"], strict=True)))
    assert out["minilm"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    for _, group in out.groupby("qid"):
        rows = group.index
        columns = {"score": results.loc[rows, "score"], "minilm": group["minilm"], "limrank": plain.loc[rows, "score"]}
        assert group["score"].tolist() == pytest.approx(fuse(columns, THREE).tolist(), abs=1e-3)
        assert group.sort_values("score", ascending=False)["rank"].tolist() == [0, 1]
    with pytest.raises(pt.validate.InputValidationError, match="'minilm'; put the stage that makes it in front"):
        LimRankReranker(SHARED, fuse=THREE).transform(results)
    with pytest.raises(LimRankError, match="no finite 'minilm' to fuse for qid '2', docno 'd1'"):
        LimRankReranker(SHARED, fuse=THREE).transform(results.assign(minilm=[None, 1.0, 2.0, 3.0]))


def test_explain_adds_the_log_odds_to_a_fused_score(results):
    plain = LimRankReranker(SHARED, explain=True).transform(results)
    fused = LimRankReranker(SHARED, explain=True, fuse=True).transform(results)
    assert "log_odds" not in plain.columns
    assert fused["log_odds"].tolist() == pytest.approx(plain["score"].tolist(), abs=1e-3)


def test_fusion_with_a_cutoff_is_over_the_judged_rows(results):
    rows = pd.concat([results, results.assign(docno="far", score=-900.0, rank=2)])
    reranker = LimRankReranker(SHARED, fuse=True, top_k=2)
    out = reranker.transform(rows)
    assert_frame_equal(out, LimRankReranker(SHARED, fuse=True).transform(results))
    compiled = reranker.compile()
    assert isinstance(compiled[0], pt.RankCutoff) and compiled[1] == LimRankReranker(SHARED, fuse=True)
    assert_frame_equal(compiled(rows).reset_index(drop=True), out.reset_index(drop=True))


def test_fuse_without_the_first_stages_scores_is_an_error(results):
    limrank = LimRank()
    limrank.judge = lambda *_, **__: pytest.fail("judged")  # type: ignore[method-assign]
    reranker = LimRankReranker(limrank, fuse=True)
    with pytest.raises(pt.validate.InputValidationError, match="column 'score'; put a retriever in front, or leave"):
        reranker.transform(results.drop(columns=["score"]))
    for missing in (float("nan"), float("inf"), None, "high", pd.NA):
        rows = results.astype({"score": object})
        rows.loc[5, "score"] = missing
        with pytest.raises(LimRankError, match=r"no finite 'score' to fuse for qid '1', docno 'd3' \(1 rows\); fill"):
            reranker.transform(rows)


def test_all_rows_are_one_call_and_repeated_pairs_are_judged_once(results):
    limrank = LimRank()
    twice = pd.concat([results, results.assign(qid=results["qid"] + "x")])
    LimRankReranker(limrank).transform(twice)
    assert (limrank.stats.pairs, limrank.stats.unique, limrank.stats.judged) == (8, 4, 4)


def test_verbose_draws_a_bar(results, capsys):
    LimRankReranker(SHARED, verbose=True).transform(results)
    assert "limrank-smol: 100%" in capsys.readouterr().err
    LimRankReranker(SHARED).transform(results)
    assert capsys.readouterr().err == ""


TOPICS = pd.DataFrame({"qid": ["1", "2"], "query": ["duplicate a file", "save my file for sure"]})
QRELS = pd.DataFrame({"qid": ["1", "2"], "docno": ["d3", "d1"], "label": [1, 1]})


@pytest.mark.parametrize("plan", ["linear", "tree"])
def test_experiment(results, plan):
    texts = dict(zip(results["docno"], results["text"], strict=True))
    first = pt.Transformer.from_df(results[["qid", "query", "docno", "score", "rank"]].reset_index(drop=True))
    limrank = LimRank()
    pipeline = first >> pt.apply.text(lambda row: texts[row["docno"]]) >> LimRankReranker(limrank)
    table = pt.Experiment(
        {"first": first, "limrank": pipeline, "again": pipeline % 1}, TOPICS, QRELS, [nDCG @ 10, "mrt"],
        validate="error", plan=plan,
    )  # fmt: skip
    assert len(table) == 3
    run = pipeline(TOPICS).rename(columns={"qid": "query_id", "docno": "doc_id"})
    qrels = QRELS.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    expected = ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10]
    assert table.set_index("name").loc["limrank", "nDCG@10"] == pytest.approx(expected)


def test_experiment_names_a_pipeline_without_text(results):
    first = pt.Transformer.from_df(results[["qid", "query", "docno", "score", "rank"]])
    with pytest.raises(ValueError, match="Validation"):
        pt.Experiment([first >> LimRankReranker(SHARED)], TOPICS, QRELS, [nDCG @ 10], validate="error")


def test_tree_plan_judges_a_shared_stage_once(results):
    limrank = LimRank()
    runs: list[int] = []
    judge = limrank.judge
    limrank.judge = lambda pairs, **kw: runs.append(len(pairs)) or judge(pairs, **kw)  # type: ignore[method-assign]
    first = pt.Transformer.from_df(results.reset_index(drop=True))
    systems = [first >> LimRankReranker(limrank), first >> LimRankReranker(limrank) % 1]
    pt.Experiment(systems, TOPICS, QRELS, [nDCG @ 10], plan="tree")
    assert sum(runs) == 4


def test_inside_caches(results, tmp_path):
    caching = pytest.importorskip("pyterrier_caching")
    rows = results.reset_index(drop=True)
    expected = LimRankReranker(SHARED).transform(rows)
    with caching.ScorerCache(tmp_path / "scores", LimRankReranker(SHARED)) as cache:
        assert cache(rows)["score"].tolist() == pytest.approx(expected["score"].tolist(), abs=1e-3)
    with caching.ScorerCache(tmp_path / "scores") as cache:
        assert cache(rows)["rank"].tolist() == expected["rank"].tolist()
    thinking = LimRankReranker(LimRank(think="always", budget=4), explain=True)
    columns = {"key": ["query", "docno"], "value": ["score", "reasoning"]}
    with caching.KeyValueCache(tmp_path / "thoughts", thinking, **columns) as cache:
        thoughts = cache(rows)["reasoning"].tolist()
    with caching.KeyValueCache(tmp_path / "thoughts", **columns) as cache:
        assert cache(rows)["reasoning"].tolist() == thoughts and all(thoughts)


def test_long_documents_by_passages():
    long = "flour and sugar. " * 60 + "os.fsync forces a file to disk. " + "eggs and milk. " * 60
    frame = pd.DataFrame({"qid": ["1"], "query": ["save my file for sure"], "docno": ["d"], "text": [long]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        split = pt.text.sliding(text_attr="text", length=40, stride=20, prepend_attr=None)
        out = (split >> LimRankReranker(SHARED) >> pt.text.max_passage())(frame)
        passages = LimRankReranker(SHARED)(split(frame))
    assert out["docno"].tolist() == ["d"]
    assert out["score"].iloc[0] == pytest.approx(passages["score"].max(), abs=1e-3) and len(passages) > 5


def test_bad_options():
    with pytest.raises(LimRankError, match="score is 'logit'"):
        LimRankReranker(score="logit")
    with pytest.raises(LimRankError, match="top_k is 0"):
        LimRankReranker(top_k=0)
    with pytest.raises(LimRankError, match=r"the fusion weight is -0\.1"):
        LimRankReranker(fuse=-0.1)
    with pytest.raises(LimRankError, match="no fusion weight for 'limrank'"):
        LimRankReranker(fuse={"score": 1})
    with pytest.raises(LimRankError, match="has no column to fuse"):
        LimRankReranker(fuse={"limrank": 1})
    with pytest.raises(LimRankError, match="score='probability' cannot be fused"):
        LimRankReranker(fuse=True, score="probability")
    with pytest.raises(LimRankError, match="think, store: set these on the LimRank itself"):
        LimRankReranker(SHARED, think="never", store="x")


def test_sliding_reads_every_document_to_its_end(results):
    out = SlidingWindows(3, 2).transform(results)
    of_first = out[(out["qid"] == "2") & out["docno"].str.startswith("d1%p")]
    assert list(of_first["text"]) == ["os.fsync forces a", "a file to", "file to disk"]
    assert list(of_first["docno"]) == ["d1%p0", "d1%p1", "d1%p2"] and set(of_first["note"]) == {"w"}
    assert len(out[out["qid"] == "1"]) == 4  # each of the two texts has 4 words, so two windows of 3


def test_sliding_keeps_rows_with_the_same_index(results):
    results.index = [0, 0, 0, 0]
    assert len(SlidingWindows(100).transform(results)) == 4


def test_sliding_with_titles_and_the_best_window(results):
    results["title"] = ["Files", None, "Copies", "Baking"]
    windows = SlidingWindows(3, 2, title_field="title").transform(results)
    assert windows["text"].iloc[0] == "Files os.fsync forces a" and "a cake needs" in set(windows["text"])
    best = (SlidingWindows(3, 2) >> LimRankReranker(SHARED) >> pt.text.max_passage())(results)
    assert sorted(zip(best["qid"], best["docno"], strict=True)) == [("1", "d2"), ("1", "d3"), ("2", "d1"), ("2", "d2")]


def test_sliding_with_missing_texts_or_bad_options(results):
    results.loc[3, "text"] = None
    with pytest.raises(LimRankError, match=r"SlidingWindows: no 'text' for qid '2', docno 'd2' \(1 rows\)"):
        SlidingWindows(3).transform(results)
    with pytest.raises(LimRankError, match="or words would be left out"):
        SlidingWindows(3, 4)


def test_ranks_that_start_at_1_are_cut_correctly_and_reported(results, caplog):
    from_one = results.assign(rank=results["rank"] + 1)
    cut = LimRankReranker(SHARED, top_k=1)
    out = cut.transform(from_one)
    assert caplog.messages == ["ranks start at 1, not at 0 as in PyTerrier; top_k=1 counts from 1"]
    assert sorted(out["docno"]) == sorted(cut.transform(results)["docno"]) == ["d1", "d3"]
    assert len(caplog.messages) == 1
