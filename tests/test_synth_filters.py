"""The filters of the synthesizer, one by one: what they keep, and what they drop for which reason."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir import LimRankError
from limrank_ir.synth.audit import Audit, Marks
from limrank_ir.synth.filters.agreement import agreed, both_kinds
from limrank_ir.synth.filters.audited import unmarked
from limrank_ir.synth.filters.decontaminate import read_benchmarks, uncontaminated
from limrank_ir.synth.filters.duplicates import different
from limrank_ir.synth.filters.hardness import above, bm25, dense, hard, remembered
from limrank_ir.synth.filters.leaks import label_leak, not_copied, passage_leak
from limrank_ir.synth.filters.traces import sound
from limrank_ir.synth.records import Brief, JudgedPair, Judgment, WrittenPassage, WrittenQuery
from limrank_ir.synth.words import content_words, ngrams

TEXT = "The river otter hunts crayfish at night and rests in burrows along the bank during the day."
NEED = "It has to say that otters look for food at night."
TRACE = "The query wants to know when otters hunt. The passage says that the river otter hunts at night, so it answers."


def query(name="q1", text="When do otters look for food, and where are they the rest of the time?"):
    brief = Brief(domain="biology", difficulty="direct", form="question", negatives=("wrong",), documents=("blog",) * 2)
    return WrittenQuery(id=name, kind="daily", brief=brief, text=text, seed="s", persona="p", request="r")


def pair(*labels, intended=True, name="q1", text=TEXT, trace=TRACE, place=0, asked=None):
    passage = WrittenPassage(id=f"{name}-p{place}", query=name, kind="positive" if intended else "wrong", text=text)
    judgments = tuple(Judgment(label=label, reasoning=trace, request=f"r{n}") for n, label in enumerate(labels))
    return JudgedPair(query=asked or query(name), need=NEED, passage=passage, judgments=judgments, label=intended)


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


# Audits


def test_what_an_audit_marks_as_wrong_is_dropped_for_its_reason():
    pairs = [pair(True, place=place) for place in range(5)]
    answers = [{"label": False, "reasoning": False}, {"reasoning": False}, {"query": False}, {"label": True}]
    one = Audit(samples=4, marks=[Marks(id=f"q1-p{place}", answers=each) for place, each in enumerate(answers)])
    found = unmarked(pairs, [one])
    assert found.kept == pairs[2:]
    assert found.dropped == {"the label is marked as wrong": 1, "the reasoning is marked as wrong": 1}
    other = Audit(samples=1, marks=[Marks(id="q1-p3", answers={"label": False})])  # one who says no is enough
    assert unmarked(pairs, [one, other]).kept == [pairs[2], pairs[4]]
    assert unmarked(pairs, []).kept == pairs


# Traces


@pytest.mark.parametrize(
    ("trace", "label", "reason"),
    [
        (TRACE, True, None),
        (f"{TRACE} So the answer is true.", True, None),
        (f"{TRACE} So the answer is false.", True, "the trace ends in the opposite verdict"),
        (TRACE.replace("at night", "at 9 p.m. in Norway"), True, "the trace has a number that is in no source"),
        (TRACE.replace("at night", '"by the light of day"'), True, "the trace has a quote that is in no source"),
        (TRACE.replace("passage", "<think>"), True, "the trace has think tags"),
        ("It is about cooking, which has nothing at all to do with that, so no.", False, "the trace is not about"),
    ],
)
def test_traces_must_be_fit_to_learn_from(trace, label, reason):
    found = sound([pair(label, intended=label, trace=trace)])
    assert len(found.kept) == (reason is None)
    assert all(why.startswith(reason) for why in found.dropped)


def test_the_first_fit_trace_becomes_the_target():
    judged = pair(True, True)
    bad = judged.judgments[0].model_copy(update={"reasoning": "of something else"})
    (found,) = sound([judged.model_copy(update={"judgments": (bad, judged.judgments[1])})]).kept
    assert [judgment.reasoning for judgment in found.judgments] == [TRACE, "of something else"]


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


def test_negatives_are_hard_where_a_retriever_ranks_them_near_the_positive():
    queries = {"q1": "When do otters hunt for food?"}
    passages = {
        "good": TEXT,
        "near": "Otters are kept in zoos, where they are fed at noon; some hunt for hidden food.",
        **{f"far{number}": f"Volcano number {number} erupted and ash fell on the vineyard." for number in range(8)},
    }
    found = [rank(queries, passages, 2) for rank in (bm25, dense)]
    for ranks in found:
        assert set(ranks["q1"]) == {"good", "near"} and sorted(ranks["q1"].values()) == [1, 2]

    def judged(name, kind, label):
        passage = WrittenPassage(id=name, query="q1", kind=kind, text=passages[name])
        return JudgedPair(query=query(), need=NEED, passage=passage, judgments=(), label=label)

    pairs = [judged("good", "positive", True), judged("near", "wrong", False), judged("far3", "minimal pair", False)]
    sifted = hard(pairs, found, within=1)
    assert [each.id for each in sifted.kept] == ["good", "near"]
    assert sifted.dropped == {"not hard: no retriever ranks it near the positive": 1}

    ranks = {"q1": {"near": 4, "good": 5, "far3": 7}}
    assert len(hard(pairs, [ranks], within=2).kept) == 3 and len(hard(pairs, [ranks], within=1).kept) == 2
    assert above(pairs, ranks) == {"wrong": (1, 1), "minimal pair": (0, 1)}
    # A positive that is not found is below all that are; a negative that is not found is not hard.
    assert len(hard(pairs, [{"q1": {"near": 150}}], within=0).kept) == 2


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

    def texts(mark="", shorter=0, count=60):
        return [
            (f"q{number}", " ".join(draw.choices(words, k=40 if label else 40 - shorter)) + mark * label, label)
            for number in range(count)
            for label in (True, False)
        ]

    found = label_leak(texts(" indeed certainly"))
    assert found.auc > 0.8 and found.error < 0.05 and found.above(0.6) and not found.above(1.0)
    assert label_leak(texts(shorter=8)).above(0.6)  # length alone gives it away
    found = label_leak(texts())
    assert 0.3 < found.auc < 0.7 and not found.above(0.6)
    assert label_leak(texts(count=9)) is None


def test_borrowed_passages_are_left_out_of_the_leak_check():
    pairs = [pair(label, intended=label, name=f"q{number}") for number in range(20) for label in (True, False)]
    borrowed = [
        each.model_copy(update={"passage": each.passage.model_copy(update={"source": "q1-p0"})}) for each in pairs[1::2]
    ]
    assert passage_leak(pairs) is not None and passage_leak([*pairs[::2], *borrowed]) is None
