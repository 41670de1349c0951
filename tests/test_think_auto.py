"""think="auto": the model thinks only about passages whose place in the top is uncertain."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir import InputError, LimRank
from limrank_ir.ranking.uncertain import mixed, uncertain
from limrank_ir.store import VerdictStore
from limrank_ir.verdict import Reading

SCORES = st.lists(st.floats(-30, 30), max_size=30)


class Opinions:
    """An engine that scores passages by the number they begin with, and by the one that they end with if it thinks."""

    identity = "opinions"

    def __init__(self):
        self.asked = []

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        for index, prompt in enumerate(prompts):
            if index not in done:
                self.asked.append((think, prompt.passage))
                score = float(prompt.passage.split()[-1 if think else 0])
                thought = "so" if think else None
                yield [(index, Reading((score, 0.0), thought, 10, 5 if think else 0, "verdict"))]


def pairs(query, *scores):
    """Passages that have one score without a thought and another one with it."""
    return [(query, f"{first} then {second}") for first, second in scores]


# Which places are uncertain


def test_near_the_cut_or_near_a_neighbor_in_the_top():
    scores = [9.0, 5.0, 4.9, 1.0, 0.95, -8.0]
    assert uncertain(scores, top=3, margin=0.05) == [1, 2]  # neighbors; nothing is near the cut between 4.9 and 1.0
    assert uncertain(scores, top=4, margin=0.05) == [1, 2, 3, 4]  # 1.0 and 0.95, too, are on two sides of the cut
    assert uncertain(scores, top=1, margin=0.05) == []
    assert uncertain(scores, top=3, margin=0.0) == [] and uncertain([], top=3) == []
    assert uncertain(scores, top=3, margin=math.inf) == [0, 1, 2, 3, 4, 5]


def test_equal_scores_are_uncertain_and_a_lone_passage_is_not():
    assert uncertain([1.0, 1.0, 1.0], top=2, margin=0.01) == [0, 1, 2]
    assert uncertain([1.0], top=2, margin=5.0) == []


@settings(deadline=None)
@given(scores=SCORES, top=st.integers(1, 12), margin=st.floats(0, 3), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_a_wider_margin_finds_more_whatever_the_scale(scores, top, margin, scale, shift):
    found = uncertain(scores, top=top, margin=margin)
    assert set(found) <= set(uncertain(scores, top=top, margin=margin * 2 + 0.01))
    ranked = [scores[position] for position in found]
    assert ranked == sorted(ranked, reverse=True)


def test_the_scale_of_the_scores_does_not_matter():
    scores = [3.0, 2.5, 2.4, 1.0, -1.0]
    for scale in (0.01, 7.0, 1000.0):
        assert uncertain([score * scale - 4 for score in scores], top=3, margin=0.2) == [1, 2]


# How two kinds of score are made comparable


@settings(deadline=None)
@given(scores=SCORES, thoughts=st.dictionaries(st.integers(0, 29), st.floats(-40, 40)))
def test_an_order_within_each_kind_never_flips(scores, thoughts):
    thoughts = {position: score for position, score in thoughts.items() if position < len(scores)}
    out = mixed(scores, thoughts)
    for one, score in enumerate(scores):
        if one not in thoughts:
            assert out[one] == score
        for other in thoughts:
            if one in thoughts and thoughts[one] > thoughts[other]:
                assert out[one] > out[other]
            if one in thoughts and thoughts[one] == thoughts[other] and score > scores[other]:
                assert out[one] >= out[other]
    assert sorted(out) == pytest.approx(sorted(scores), abs=1e-9)


def test_equal_scores_with_different_thoughts_do_not_tie():
    out = mixed([1.0, 1.0, 1.0, 0.0], {0: -3.0, 1: 3.0, 2: 3.0})
    assert out[1] == out[2] == 1.0 and 0.999 < out[0] < 1.0 and out[3] == 0.0


# In the reranker


def test_only_uncertain_passages_are_thought_about():
    engine = Opinions()
    asked = pairs("q", (9, -1), (5.0, -20), (4.9, 20), (0, 7)) + pairs("r", (9, 1), (0, 1))
    limrank = LimRank(engine=engine, think="auto", think_top=2, think_margin=0.1)
    verdicts = limrank.judge(asked)
    assert [passage for think, passage in engine.asked if think] == ["5.0 then -20", "4.9 then 20"]
    assert [verdict.log_odds for verdict in verdicts] == [9, 4.9, 5.0, 0, 9, 0]
    assert [verdict.reasoning for verdict in verdicts] == [None, "so", "so", None, None, None]
    stats = limrank.stats
    assert (stats.pairs, stats.unique, stats.judged, stats.thoughts, stats.tokens) == (6, 6, 6, 2, 6 * 10 + 2 * 15)


def test_repeated_passages_are_not_uncertain_because_of_each_other():
    engine = Opinions()
    verdicts = LimRank(engine=engine, think="auto", think_margin=0.1).judge(pairs("q", *[(5, 1)] * 3, (0, 1)))
    assert [verdict.log_odds for verdict in verdicts] == [5, 5, 5, 0]
    assert not any(think for think, _ in engine.asked) and len(engine.asked) == 2


def test_instructions_make_queries_of_their_own():
    engine = Opinions()
    asked = [("q", "5.0 a 1", "only code"), ("q", "5.0 b 1", None), ("q", "0 c 1", None)]
    LimRank(engine=engine, think="auto", think_margin=0.1).judge(asked)
    assert not any(think for think, _ in engine.asked)


def test_its_verdicts_are_those_of_never_and_always_in_a_store(tmp_path):
    store, asked = VerdictStore(tmp_path / "store.sqlite"), pairs("q", (5.0, 1), (4.9, 2), (0, 3))
    LimRank(engine=Opinions(), think="never", store=store).judge(asked)
    engine = Opinions()
    limrank = LimRank(engine=engine, think="auto", think_margin=0.1, store=store)
    first = limrank.judge(asked)
    assert engine.asked == [(True, "5.0 then 1"), (True, "4.9 then 2")] and limrank.stats.stored == 3
    assert limrank.judge(asked) == first and len(engine.asked) == 2
    always = LimRank(engine=engine, think="always", store=store).judge(asked)
    assert [verdict.log_odds for verdict in always] == [1, 2, 3] and len(engine.asked) == 3


def test_progress_reaches_the_number_of_pairs():
    done = []
    asked = pairs("q", (5.0, 1), (4.9, 2), (0, 3), (0, 3))
    LimRank(engine=Opinions(), think="auto", think_margin=0.1).judge(asked, progress=done.append)
    assert sum(done) == 4


def test_with_the_real_model(docstrings):
    passages = docstrings[:6]
    limrank = LimRank(think="auto", budget=5, think_top=3, think_margin=0.2)
    ranked = limrank.rank("how do I copy a file?", passages)
    thoughts = [passage for passage in ranked if passage.reasoning is not None]
    assert 0 < len(thoughts) == limrank.stats.thoughts < 6
    never = dict(enumerate(LimRank(think="never").predict([("how do I copy a file?", text) for text in passages])))
    for passage in ranked:
        if passage.reasoning is None:
            assert passage.score == pytest.approx(never[passage.index], abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"think_top": 0}, "think_top is 0; it must be at least 1"),
        ({"think_margin": -0.1}, "think_margin is -0.1; it must be at least 0"),
        ({"think_margin": math.nan}, "think_margin is nan"),
        ({"prompt_format": "qwen3"}, "the prompt format 'qwen3' has no thinking mode"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        LimRank(think="auto", **options)


def test_a_server_that_batches_requests_refuses_it():
    from limrank_ir.http import create_app

    with pytest.raises(InputError, match="think='auto' needs all passages of a query in one call"):
        create_app(LimRank(engine=Opinions(), think="auto"))


# Long runs

LONG = """
import re, time
from limrank_ir import LimRank
from limrank_ir.verdict import Reading

class Engine:
    identity = "stub"
    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        for start in range(0, len(prompts), 2048):
            indices = range(start, min(start + 2048, len(prompts)))
            yield [(index, Reading((-index / 7, -1.0), None, 300 + index % 99, 0, "verdict")) for index in indices]

pairs = ((f"query {i // 100}", f"passage {i} " + "and so on " * 100) for i in range(300_000))
started = time.perf_counter()
verdicts = LimRank(engine=Engine()).judge(pairs)
assert len(verdicts) == 300_000
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])  # ru_maxrss has the parent's, too
print(peak / 1024, 300_000 / (time.perf_counter() - started))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the memory is read from /proc")
def test_memory_stays_flat_in_a_long_run():
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    megabytes, speed = map(float, done.stdout.split())
    assert megabytes < 450  # the texts alone are 300 MB, and twice that with their prompts
    assert speed > 3000  # 40,000 on an idle machine
