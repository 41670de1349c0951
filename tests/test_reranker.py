"""LimRank: ranking, fusion, unique pairs, clear messages for bad input, and a light import."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

import limrank_ir
from limrank_ir import LimRank, LimRankError, Ranked, Verdict, fuse
from tests.engines import reading

PASSAGES = ["os.fsync(fd) forces a file to disk", "A cake needs flour.", "shutil.copy copies a file"]
QUERY = "how do I make sure that a file is on disk?"


def test_import_is_light():
    code = (
        "import sys, time; t = time.perf_counter(); import limrank_ir; s = time.perf_counter() - t;"
        "from limrank_ir import LimRank; LimRank();"
        "assert not {'torch', 'transformers', 'pyterrier', 'pandas'} & set(sys.modules), 'heavy'; print(s)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 0.3
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        limrank_ir.Nothing  # noqa: B018
    assert all(getattr(limrank_ir, name) for name in limrank_ir.__all__)


def test_rank(limrank):
    ranked = limrank.rank(QUERY, PASSAGES)
    scores = limrank.predict([(QUERY, text) for text in PASSAGES])
    assert [one.index for one in ranked] == np.argsort(-scores, kind="stable").tolist()
    for one in ranked:
        assert isinstance(one, Ranked) and one.text == PASSAGES[one.index] and one.reasoning is None
        assert one.score == pytest.approx(scores[one.index], abs=1e-3)
        assert one.probability == pytest.approx(1 / (1 + math.exp(-one.score)))
    assert limrank.rank(QUERY, PASSAGES, top_k=2) == ranked[:2]
    assert limrank.rank(QUERY, []) == []
    asked = limrank.rank(QUERY, PASSAGES, instruction="only recipes")
    assert [one.score for one in asked] != [one.score for one in ranked]
    with pytest.raises(LimRankError, match="top_k is 0"):
        limrank.rank(QUERY, PASSAGES, top_k=0)


def test_equal_scores_keep_their_order(limrank):
    ranked = limrank.rank(QUERY, [PASSAGES[0], PASSAGES[1], PASSAGES[0]])
    assert [one.index for one in ranked if one.text == PASSAGES[0]] == [0, 2]


def test_rank_fused_with_the_first_stage(limrank):
    alone = {one.index: one for one in limrank.rank(QUERY, PASSAGES)}
    odds = [alone[index].score for index in range(len(PASSAGES))]
    found = [1.0, 9.0, 8.5]
    for option, weight in ((True, limrank.model.fuse), (0.3, 0.3), (0, 0.0), (1.0, 1.0)):
        ranked = limrank.rank(QUERY, PASSAGES, first_stage_scores=found, fuse=option)
        scores = {one.index: one.score for one in ranked}
        expected = fuse({"first": found, "limrank": odds}, {"first": 1 - weight, "limrank": weight})
        assert [scores[index] for index in range(3)] == pytest.approx(expected.tolist(), abs=1e-3)
        assert [one.score for one in ranked] == sorted(scores.values(), reverse=True)
        assert all(one.probability == pytest.approx(alone[one.index].probability, abs=1e-3) for one in ranked)
        assert option != 0 or [one.index for one in ranked] == [1, 2, 0]
    assert limrank.rank(QUERY, PASSAGES, first_stage_scores=found, fuse=1.0, top_k=1) == ranked[:1]
    assert limrank.rank(QUERY, [], first_stage_scores=[], fuse=True) == []
    assert limrank.rank(QUERY, PASSAGES[:1], first_stage_scores=[3.5], fuse=True)[0].score == 0.0
    several = {"bm25": found, "minilm": [0.9, 0.1, 0.3]}
    for option, weights in (
        ({"limrank": 2, "bm25": 1, "minilm": 1}, {"bm25": 0.25, "minilm": 0.25, "limrank": 0.5}),
        (True, dict(zip(("bm25", "minilm", "limrank"), limrank.model.fuse_three, strict=True))),
    ):
        ranked = limrank.rank(QUERY, PASSAGES, first_stage_scores=several, fuse=option)
        expected = fuse({**several, "limrank": odds}, weights)
        assert {one.index: one.score for one in ranked} == pytest.approx(dict(enumerate(expected)), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fuse": True}, r"fuse needs the first stage's scores; give first_stage_scores="),
        ({"first_stage_scores": [1.0, 2.0, 3.0]}, "first_stage_scores has no effect without fuse; add fuse=True"),
        ({"fuse": True, "first_stage_scores": [1.0]}, "first_stage: 1 scores for 3 candidates; give one"),
        (
            {"fuse": True, "first_stage_scores": [1.0, math.nan, 2.0]},
            "first_stage: number 1 is nan; remove",
        ),
        (
            {"fuse": {"bm25": 1, "limrank": 1}, "first_stage_scores": {"bm25": [1.0, 2.0, 3.0], "minilm": [1.0] * 3}},
            r"no fusion weight for 'minilm'; give one \(0 to leave",
        ),
        ({"fuse": 1.5, "first_stage_scores": [1.0, 2.0, 3.0]}, "the fusion weight is 1.5; give a number from 0"),
    ],
)
def test_scores_that_cannot_be_fused_are_refused_before_the_model_loads(options, message):
    with pytest.raises(LimRankError, match=message):
        LimRank(engine=Silent()).rank(QUERY, PASSAGES, **options)


def test_predict(limrank):
    many = limrank.predict([(QUERY, PASSAGES[0]), [QUERY, PASSAGES[1]]])
    assert many.dtype == np.float64 and many.shape == (2,)
    assert np.argsort(-many).tolist() == [one.index for one in limrank.rank(QUERY, PASSAGES[:2])]
    assert limrank.predict([]).shape == (0,)
    assert type(limrank.judge([(QUERY, PASSAGES[0])])[0].log_odds) is float


def test_repeated_pairs_are_judged_once_and_progress_counts_them_all(limrank):
    steps: list[int] = []
    pairs = [(QUERY, PASSAGES[0]), (QUERY, PASSAGES[1]), (QUERY, PASSAGES[0], None)]
    verdicts = limrank.judge(iter(pairs), progress=steps.append)
    assert verdicts[0] is verdicts[2] and verdicts[0] != verdicts[1]
    run = limrank.stats
    assert (run.pairs, run.unique, run.judged, run.stored, sum(steps)) == (3, 2, 2, 0, 3)
    assert run.tokens == verdicts[0].prompt_tokens + verdicts[1].prompt_tokens and run.seconds > 0


def test_progress_bar(limrank, capsys):
    limrank.predict([(QUERY, PASSAGES[0])], show_progress_bar=True)
    assert "1/1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("q", "p"), ("q", None)], "pair 1: the passage is None, not text; fix or remove it first"),
        ([(float("nan"), "p")], "pair 0: the query is of type float, not text"),
        ([("q", "p", 3)], "pair 0: the instruction is of type int, not text"),
        ([("  ", "p")], "pair 0: the query is empty"),
        ([("q",)], "pair 0: 1 parts; give .query, passage. or"),
        (["qp"], "pair 0: one text .'qp'.; give .query, passage. or"),
    ],
)
def test_bad_pairs(pairs, message):
    with pytest.raises(LimRankError, match=message):
        LimRank().judge(pairs)


def test_bad_options():
    for options, message in (
        ({"model": "no-such-model"}, "unknown model 'no-such-model'"),
        ({"think": "sometimes"}, "think is 'sometimes'; choose one of: never, auto, always"),
        ({"budget": 0}, "budget is 0"),
        ({"task": "cooking"}, "unknown BRIGHT task"),
        ({"engine": "steam"}, "unknown engine 'steam'"),
        ({"model": "qwen3-reranker-4b", "think": "always"}, "no thinking mode"),
    ):
        with pytest.raises(LimRankError, match=message):
            LimRank(**options)


class Silent:
    """An engine that forgets every second prompt."""

    identity = "silent"

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        yield [(index, reading(float(index))) for index in range(0, len(prompts), 2)]


def test_a_missing_verdict_is_an_error():
    with pytest.raises(LimRankError, match="gave no verdict for 1 of 3 pairs"):
        LimRank(engine=Silent()).judge([("q", text) for text in PASSAGES])


def test_each_remark_is_logged_once(caplog):
    limrank = LimRank(engine=Silent())
    limrank.judge([("q", "a <think> b")])
    assert [record.getMessage() for record in caplog.records] == ["reserved strings were removed from 1 of 1 pairs"]


def test_probability_does_not_overflow():
    assert [Verdict(odds, None, 1, 0, "verdict").probability for odds in (-1000.0, 0.0, 1000.0)] == [0.0, 0.5, 1.0]
