"""Intent: answers and background are told apart, and weighed by what the query needs."""

from __future__ import annotations

import math

import pytest

from limrank_ir import LimRank
from limrank_ir.errors import InputError
from limrank_ir.rankers.asking import Answer
from limrank_ir.rankers.fit import engine_ask
from limrank_ir.rankers.intent import Intent
from limrank_ir.rankers.named import as_ranker
from limrank_ir.rankers.order import Candidates
from limrank_ir.rankers.run import rank_candidates

from .judges import rank

HELPS = {"none": (0.9, 0.05, 0.05), "background": (0.1, 0.8, 0.1), "answer": (0.3, 0.1, 0.6)}
GIVEN = Candidates("why is it so?", ["none", "background", "answer"])


def judge(needs_background, asked=None):
    def answers(questions):
        if asked is not None:
            asked.append([(question.task, question.passages) for question in questions])
        odds = {"need": (1 - needs_background, needs_background)} | HELPS
        return [
            Answer(logprobs=tuple(map(math.log, odds["need" if each.task == "need" else each.passages[0]])))
            for each in questions
        ]

    return answers


def test_background_counts_as_much_as_the_query_needs_it():
    asked = []
    assert rank(Intent(), GIVEN, judge(0.9, asked)).indices == (1, 2, 0)
    assert rank(Intent(), GIVEN, judge(0.1)).indices == (2, 1, 0)
    assert asked == [[("need", ("",)), *(("help", (text,)) for text in GIVEN.texts)]]
    (best, *_) = rank(Intent(), GIVEN, judge(0.9)).scores
    assert 1 / (1 + math.exp(-best)) == pytest.approx(0.1 + 0.9 * 0.8)  # the expected grade
    assert rank(Intent(slope=-1), GIVEN, judge(0.9)).indices == (2, 1, 0)


def test_without_a_slope_the_query_is_not_asked_about():
    asked = []
    assert rank(Intent(slope=0, bias=5), GIVEN, judge(0.5, asked)).indices == (1, 2, 0)
    assert rank(Intent(slope=0, bias=-1000), GIVEN, judge(0.5)).indices == (2, 1, 0)  # and a weight of 0 is one
    assert [task for task, _ in asked[0]] == ["help"] * 3
    assert (Intent(slope=0).calls(3), Intent().calls(3), Intent().calls(0), Intent(depth=2).calls(3)) == (3, 4, 0, 3)


def test_a_need_that_cannot_be_read_leaves_the_bias():
    def mute(questions):
        answers = judge(0.9)(questions)
        return [Answer() if each.task == "need" else answer for each, answer in zip(questions, answers, strict=True)]

    order = rank(Intent(bias=-3), GIVEN, mute)
    assert order.indices == (2, 1, 0) and order.counts.failed == 1


def test_options_are_checked_and_have_names():
    assert as_ranker("intent:bias=-1,slope=0.5") == Intent(bias=-1, slope=0.5)
    for wrong in (math.nan, math.inf):
        with pytest.raises(InputError, match="give finite numbers"):
            Intent(bias=wrong)


def test_the_real_model_reads_both_and_says_the_same_again(limrank: LimRank):
    ranker = Intent()
    given = [Candidates("how do I copy a file?", ["os.remove(path)", "shutil.copy(src, dst)"]), Candidates("x", [])]
    ask = engine_ask(limrank, ranker)
    first = dict(rank_candidates(ask, ranker, given))
    assert first[0].counts.questions == 3 and first[0].counts.failed == 0 and first[1].indices == ()
    again = dict(rank_candidates(engine_ask(limrank, ranker), ranker, given))
    assert [order.indices for order in again.values()] == [order.indices for order in first.values()]
