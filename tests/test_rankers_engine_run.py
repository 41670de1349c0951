"""Every ranker over an engine: the truth comes out, also after an interruption, and the real model runs."""

from __future__ import annotations

import logging

import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.rankers.adaptive import Adaptive
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.first import First
from limrank_ir.rankers.graded import Graded
from limrank_ir.rankers.groupwise import Groupwise
from limrank_ir.rankers.icr import Icr
from limrank_ir.rankers.listwise import Listwise
from limrank_ir.rankers.order import Candidates
from limrank_ir.rankers.pointwise import Pointwise
from limrank_ir.rankers.run import most_questions, rank_candidates
from limrank_ir.rankers.setwise import Setwise
from limrank_ir.rankers.two_stages import TwoStages
from tests.asked import Knows

RANKERS = {
    "pointwise": (Pointwise(), ()),
    "graded": (Graded(), ()),
    "graded up to 10": (Graded(highest=10), ("grade-0-10",)),
    "tfrank": (Graded(rule="tfrank"), ()),
    "setwise": (Setwise(), ()),
    "setwise by numbers": (Setwise(sort="bubble"), ("setwise-numbers",)),
    "rank-r1": (Setwise(by="answer"), ("rank-r1",)),
    "first": (First(window=5, stride=1), ()),
    "first by numbers": (First(window=5, stride=4), ("listwise",)),
    "listwise": (Listwise(window=3, stride=1, repeats=5), ()),
    "reason-rank": (Listwise(), ("reason-rank",)),
    "rearank": (Listwise(), ("rearank",)),
    "rank-gpt": (Listwise(), ("rank-gpt",)),
    "icr": (Icr(), ()),
    "icr in windows": (Icr(window=3, stride=2, repeats=4), ("icr-simple",)),
    "groupwise": (Groupwise(window=3), ()),
    "two stages": (TwoStages(top=3), ("reason-rank",)),
    "adaptive": (Adaptive(budget=5), ()),
}


def asking(engine=None, store=None, formats=(), **options):
    return EngineAsk(LimRank(engine=engine or Knows(), store=store, **options), formats=formats)


@pytest.mark.parametrize(("ranker", "formats"), RANKERS.values(), ids=RANKERS)
def test_the_truth_comes_out(ranker, formats):
    class Digits(Knows):  # grades up to 10 are read digit by digit
        def _reading(self, prompt, labels):
            return super()._reading(prompt, labels if len(labels) != 1 else ("0", "1", "2"))

    queries = [Candidates(f"query {shift}", [f"p {(place + shift) % 5}" for place in range(5)]) for shift in range(3)]
    ask = asking(Digits(), formats=formats)
    for number, order in rank_candidates(ask, ranker, queries, live=2):
        assert [queries[number].texts[index] for index in order.indices] == [f"p {grade}" for grade in (4, 3, 2, 1, 0)]
        assert order.counts.failed == order.counts.repairs == 0 and order.counts.tokens > 0


def test_a_ranker_over_many_queries_ends_the_same_after_an_interruption(tmp_path):
    queries = [
        Candidates(f"query {number}", [f"p {(7 * place + number) % 23}" for place in range(23)]) for number in range(5)
    ]
    ranker = Setwise(top=3)
    whole = dict(rank_candidates(ask := asking(Knows(batch=1)), ranker, queries))
    for number, order in whole.items():
        found = [queries[number].texts[index] for index in order.indices[:3]]
        assert found == ["p 22", "p 21", "p 20"] and order.counts.questions <= ranker.calls(23)
    with pytest.raises(KeyboardInterrupt):
        dict(rank_candidates(asking(stopped := Knows(stops_after=20, batch=1), tmp_path / "v"), ranker, queries))
    rest = asking(Knows(batch=1), tmp_path / "v")
    assert dict(rank_candidates(rest, ranker, queries, live=2)) == whole
    assert rest.stats.calls + len(stopped.asked) == ask.stats.calls


def test_what_a_run_has_cut_is_said_once_at_its_end(caplog):
    queries = [Candidates(f"query {number}", ["p 99", "p 1"]) for number in range(3)]
    with caplog.at_level(logging.WARNING, "limrank_ir"):
        assert len(list(rank_candidates(asking(), First(), iter(queries), show_progress_bar=True))) == 3
    (message,) = (record.getMessage() for record in caplog.records)
    assert message == "passages were cut in 3 of 3 prompts to fit (3 tokens in all)"


@pytest.mark.parametrize("ranker", [Setwise(top=3), Listwise(), Adaptive(budget=3), Graded(), Pointwise()])
@pytest.mark.parametrize("store", [None, "v"])
def test_progress_moves_with_the_questions_and_ends_at_the_most(tmp_path, ranker, store):
    queries = [Candidates(f"query {number % 7}", [f"p {place}" for place in range(9)]) for number in range(9)]
    for _ in range(2):
        steps, done = [], []
        ask = asking(Knows(batch=4), store and tmp_path / store)
        for _ in rank_candidates(ask, ranker, queries, progress=steps.append):
            done.append(sum(steps))
        assert sum(steps) == most_questions(ranker, [9] * 9) and min(steps) >= 0
        if ask.stats.calls:
            assert 0 < max(steps) < done[0]  # before the first query is done


@pytest.mark.parametrize("store", [None, "v"])
def test_a_grade_and_the_verdict_made_from_it_are_asked_once(tmp_path, store):
    limrank = LimRank("tfrank-0.6b", engine=(engine := Knows()), store=store and tmp_path / store)
    ranker = Graded(rule="tfrank")
    query = Candidates("query", ["p 1", "p 3", "p 2"])
    ((_, order),) = rank_candidates(ask := EngineAsk(limrank), ranker, [query], progress=(steps := []).append)
    assert len(engine.asked) == ask.stats.calls == ask.stats.repeated == 3 and sum(steps) == 6
    verdicts = limrank.judge([("query", text) for text in query.texts])
    assert order.indices == (1, 2, 0) and order.counts.tokens == 30
    assert order.scores == pytest.approx([verdicts[index].probability for index in order.indices])
    list(rank_candidates(other := asking(), ranker, [query]))  # whose verdicts are another question
    assert (other.stats.calls, other.stats.repeated) == (6, 0)


def test_what_verdicts_have_cut_is_said_once_too(caplog):
    queries = [Candidates(f"query {number}", ["p 99", "p 1"]) for number in range(3)]
    with caplog.at_level(logging.WARNING, "limrank_ir"):
        list(rank_candidates(asking(), Pointwise(), queries, live=1))
    (message,) = (record.getMessage() for record in caplog.records)
    assert message == "passages were cut in 3 of 6 prompts to fit (3 tokens in all)"


def test_the_real_model_ranks_a_window(limrank):
    passages = ["shutil.copy(src, dst) copies a file.", "A cake needs flour.", "os.remove(path) removes a file."]
    ask = EngineAsk(limrank, formats=["listwise"])
    ((_, order),) = rank_candidates(ask, Listwise(), [Candidates("how do I copy a file?", passages)])
    assert sorted(order.indices) == [0, 1, 2] and (ask.stats.writes, order.counts.questions) == (1, 1)
    assert order.counts.tokens == ask.stats.tokens > 60


@pytest.mark.parametrize(
    ("query", "texts", "message"),
    [
        ("", ["p 1"], "query 1, '': the query is empty; fix or remove it first"),
        ("", ["p 1", "p 2"], "query 1, '': the query is empty"),
        ("what is it?", ["p 1", None], "query 1, 'what is it.', candidate 1: the passage is None, not text"),
        ("what is it?", [7], "query 1, 'what is it.', candidate 0: the passage is of type int, not text"),
        (None, [], "query 1, 'None': the query is None, not text"),
    ],
)
def test_an_error_in_a_text_names_its_query_whatever_is_asked(query, texts, message):
    queries = [Candidates("one", ["p 1", "p 2"]), Candidates(query, texts)]
    with pytest.raises(InputError, match=message):
        list(rank_candidates(asking(), Setwise(), queries))
