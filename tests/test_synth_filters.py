"""The filters of the synthesizer, one by one: what they keep, and what they drop for which reason."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir import LimRankError
from limrank_ir.synth.filters.agreement import agreed, both_kinds
from limrank_ir.synth.filters.decontaminate import read_benchmarks, uncontaminated
from limrank_ir.synth.filters.duplicates import different
from limrank_ir.synth.filters.hardness import bm25, dense, hard, remembered
from limrank_ir.synth.filters.leaks import label_leak, not_copied
from limrank_ir.synth.filters.traces import sound
from limrank_ir.synth.records import JudgedPair, Judgment, WrittenPassage, WrittenQuery
from limrank_ir.synth.words import content_words, ngrams

TEXT = "The river otter hunts crayfish at night and rests in burrows along the bank during the day."
TRACE = "The query wants to know when otters hunt. The passage says that the river otter hunts at night, so it answers."


def query(name="q1", text="When do otters look for food, and where are they the rest of the time?"):
    return WrittenQuery(
        id=name, kind="daily", domain="biology", difficulty="direct", text=text, seed="s", persona="p",
        negatives=("wrong",), documents=("forum answer",) * 2, request="r",
    )  # fmt: skip


def pair(*labels, intended=True, name="q1", text=TEXT, trace=TRACE, place=0, asked=None):
    passage = WrittenPassage(id=f"{name}-p{place}", query=name, kind="positive" if intended else "wrong", text=text)
    judgments = tuple(Judgment(label=label, reasoning=trace, request=f"r{n}") for n, label in enumerate(labels))
    return JudgedPair(query=asked or query(name), passage=passage, judgments=judgments, label=intended)


# Agreement


def test_judgments_must_agree_with_each_other_and_the_intended_label():
    pairs = [
        pair(True, True),
        pair(True, False),
        pair(False, False),
        pair(False, intended=False),
        pair(True, intended=False),
    ]
    found = agreed(pairs, relabel=False)
    assert found.kept == [pairs[0], pairs[3]]
    assert found.dropped == {
        "the judgments disagree": 1,
        "meant to be true, judged false": 1,
        "meant to be false, judged true": 1,
    }
    found = agreed(pairs, relabel=True)
    assert [each.label for each in found.kept] == [True, False, False, True]
    assert found.dropped == {"the judgments disagree": 1}


@given(st.lists(st.tuples(st.lists(st.booleans(), min_size=1, max_size=4), st.booleans()), max_size=20), st.booleans())
def test_kept_pairs_are_labeled_as_judged(judged, relabel):
    pairs = [pair(*labels, intended=intended) for labels, intended in judged]
    found = agreed(pairs, relabel=relabel)
    assert all({judgment.label for judgment in each.judgments} == {each.label} for each in found.kept)
    assert len(found.kept) + sum(found.dropped.values()) == len(pairs)


def test_a_query_needs_both_kinds():
    pairs = [
        pair(True),
        pair(False, intended=False, place=1),
        pair(True, name="q2"),
        pair(False, intended=False, name="q3"),
    ]
    found = both_kinds(pairs)
    assert found.kept == pairs[:2]
    assert found.dropped == {"the query has no other passage left": 1, "the query has no relevant passage left": 1}


# Traces


@pytest.mark.parametrize(
    ("trace", "label", "reason"),
    [
        (TRACE, True, None),
        (f"{TRACE} So the answer is true.", True, None),
        (f"{TRACE} So the answer is false.", True, "the trace ends in the opposite verdict"),
        ("Otters hunt crayfish at night.", True, "the trace is too short"),
        (" ".join([TRACE] * 60), True, "the trace is too long"),
        (TRACE.replace("passage", "<think>"), True, "the trace has think tags"),
        ("It is about cooking, which has nothing at all to do with that, so no.", False, "the trace is not about"),
    ],
)
def test_traces_must_be_fit_to_learn_from(trace, label, reason):
    found = sound([pair(label, intended=label, trace=trace)], words=(10, 1000))
    assert len(found.kept) == (reason is None)
    assert all(why.startswith(reason) for why in found.dropped)


def test_the_first_fit_trace_becomes_the_target():
    judged = pair(True, True)
    bad = judged.judgments[0].model_copy(update={"reasoning": "too short"})
    (found,) = sound([judged.model_copy(update={"judgments": (bad, judged.judgments[1])})], words=(10, 1000)).kept
    assert [judgment.reasoning for judgment in found.judgments] == [TRACE, "too short"]


# Duplicates, benchmarks, and copies


def test_near_duplicates_are_dropped():
    texts = [
        TEXT,
        TEXT.replace("day.", "week").upper(),
        TEXT.replace("otter", "mink"),
        "Something else entirely, at length.",
    ]
    found = different(texts, lambda text: text, similarity=0.7)
    assert found.kept[0] == TEXT and found.kept[-1] == texts[-1] and found.dropped["nearly the same as another"] >= 1
    assert different(texts, lambda text: text, similarity=1.0).kept == texts
    assert different([TEXT, TEXT], lambda text: text, similarity=1.0).kept == [TEXT]


def test_queries_of_benchmarks_are_dropped(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"qid": 1, "query": "How do I fold a paper crane without tearing it apart?"}\n')
    (tmp_path / "b.tsv").write_text("7\tshort one\n")
    (tmp_path / "c.tsv").write_text("qid\tquery\tinstruction\n8\tanother short one\tsay something\n")
    (tmp_path / "d.txt").write_text("how do I whistle\n")
    (tmp_path / "e.xml").write_text("<top><num>9</num><title>paper hats</title></top>")
    benchmarks = read_benchmarks(sorted(tmp_path.iterdir()))
    assert benchmarks[1:] == ["short one", "another short one", "how do I whistle", "paper hats"]
    queries = [
        query("same", "how do i FOLD a paper crane without tearing it apart"),
        query("part", "My daughter asks how do I fold a paper crane without tearing its wings, and I have no idea."),
        query("short", "Short one!"),
        query("near", "A short one of mine, and how do I fold a paper boat?"),
    ]
    found = uncontaminated(queries, benchmarks)
    assert [each.id for each in found.kept] == ["near"] and found.dropped == {"in a benchmark": 3}
    with pytest.raises(LimRankError, match="no such file"):
        read_benchmarks([tmp_path / "none"])


@given(st.text(max_size=60), st.integers(1, 9))
def test_ngrams(text, size):
    grams = list(ngrams(text, size))
    assert grams and all(len(gram) <= size for gram in grams)
    assert content_words(text) <= {word for gram in grams for word in gram}


def test_a_passage_that_repeats_the_query_is_dropped():
    asked = query(text="Why does my old bicycle chain skip when I pedal hard up the hill near home?")
    copied = pair(True, asked=asked, text=f"Many ask: {asked.text} The chain is worn.")
    own = pair(True, asked=asked, text="A worn chain skips under load when the rider pedals hard up a hill.")
    assert not_copied([copied, own]).kept == [own]


# Hardness


def test_negatives_that_nothing_finds_are_not_hard():
    queries = {"q1": "When do otters hunt for food?"}
    passages = {
        "good": TEXT,
        "near": "Otters are kept in zoos, where they are fed at noon; some hunt for hidden food.",
        **{f"far{number}": f"Volcano number {number} erupted and ash fell on the vineyard." for number in range(8)},
    }
    found = [rank(queries, passages, 2) for rank in (bm25, dense)]
    for ranks in found:
        assert set(ranks["q1"]) == {"good", "near"} and sorted(ranks["q1"].values()) == [1, 2]
    pairs = [
        JudgedPair(
            query=query(),
            passage=WrittenPassage(id=name, query="q1", kind=kind, text=passages[name]),
            judgments=(),
            label=label,
        )
        for name, kind, label in (("good", "positive", True), ("near", "wrong", False), ("far3", "wrong", False))
    ]
    sifted = hard(pairs, found, within=2)
    assert [each.id for each in sifted.kept] == ["good", "near"]
    assert sifted.dropped == {"not hard: no retriever finds it": 1}


# Leaks


def test_ranks_of_the_same_texts_are_computed_once(tmp_path):
    asked = []

    def retrieve(queries, passages, depth):
        asked.append(depth)
        return {qid: {name: rank for rank, name in enumerate(passages, 1)} for qid in queries}

    ranks = remembered(tmp_path / "new" / "ranks.json", retrieve)
    first = ranks({"q": "a"}, {"d1": "b", "d2": "c"}, 2)
    assert first == ranks({"q": "a"}, {"d1": "b", "d2": "c"}, 2) == {"q": {"d1": 1, "d2": 2}} and asked == [2]
    ranks({"q": "a"}, {"d1": "b", "d2": "other"}, 2)
    ranks({"q": "a"}, {"d1": "b", "d2": "other"}, 1)
    assert asked == [2, 2, 1]
    (tmp_path / "new" / "ranks.json").write_text("[]")
    ranks({"q": "a"}, {"d1": "b", "d2": "other"}, 1)
    assert asked == [2, 2, 1, 1]


def test_a_label_leak_is_measured():
    draw = random.Random(0)
    words = [f"word{number}" for number in range(300)]

    def pairs(mark):
        made = []
        for number in range(60):
            for label in (True, False):
                text = " ".join(draw.choices(words, k=40)) + (f" {mark}" if label else "")
                made.append(pair(label, intended=label, name=f"q{number}", text=text))
        return made

    assert label_leak(pairs("indeed certainly")) > 0.8
    assert 0.3 < label_leak(pairs("")) < 0.7
    assert label_leak(pairs("")[:18]) is None
