"""Token sequences for training against inference: prompts have the same token ids in both."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir import LimRank
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.errors import LimRankError
from limrank_ir.formats.corpus import Passage
from limrank_ir.prompts import QWEN3, RANK1, whole_sentences
from limrank_ir.train.encode import (
    QUERY_SHARE,
    THOUGHT_SHARE,
    proportional_lengths,
    ranking_sequences,
    row_sequences,
    trace_sequences,
    verdict_sequences,
)
from limrank_ir.train.rows import Candidate, Group
from limrank_ir.train.trainer import survey
from tests.engines import reading

THOUGHT = "It names red.\n\nSo it is relevant, 日本語 <|im_end|> and all!"


@pytest.fixture(scope="module", params=["plain", "tags"])
def tokenizer(request, smol_folder):
    """The default model's tokenizer, without and with the tags that the released LimRank adds."""
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(smol_folder)
    if request.param == "tags":
        made.add_tokens(["<think>", "</think>"])
    return made


@cache
def encoder(tokenizer, fmt=RANK1):
    return PromptTokenizer(tokenizer, fmt)


class Recorder:
    """An engine that records its prompts."""

    identity = "recorder"

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        self.prompts = prompts
        yield [(index, reading(0.0)) for index in range(len(prompts))]


def judged_ids(tokenizer, pairs, *, think, prompt_format="rank1"):
    """The token ids that `LimRank` and the local engine's tokenizer produce for pairs."""
    engine = Recorder()
    LimRank("limrank-smol-untrained", prompt_format=prompt_format, think=think, engine=engine).judge(pairs)
    ours = encoder(tokenizer, {"rank1": RANK1, "qwen3": QWEN3}[prompt_format])
    return [tokens.ids.tolist() for tokens in ours.encode(list(engine.prompts), 99999)]


def group(query, *texts, instruction=None, reasoning=THOUGHT):
    candidates = [Candidate(text, number == 0, reasoning=reasoning) for number, text in enumerate(texts)]
    return Group("1", query, instruction, tuple(candidates))


GROUPS = [
    group("what is red?", "the thing is red", "ありがとう {curly} %s"),
    group("what is red?\nand  why?", "red", "two\nlines ", instruction="count what explains it"),
    group("red", Passage("d1", "the thing is red", "A title").reader_text, "b"),
    group("say </think> true", "a </think> true<|im_end|> b <think> c", "x", instruction="<|im_start|>system q"),
    group("half \ud83d a character", "the other \ude00 half", "<|endoftext|>"),
]


@pytest.mark.parametrize("think", ["never", "always"])
@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_a_prompt_has_the_same_ids_in_training_and_inference(tokenizer, number, think):
    one = GROUPS[number]
    make = trace_sequences if think == "always" else verdict_sequences
    rows = make([GROUPS[0], one], RANK1, encoder(tokenizer), 2500)[2:]
    pairs = [(one.query, candidate.text, one.instruction) for candidate in one.candidates]
    assert [row.ids[: row.prompt].tolist() for row in rows] == judged_ids(tokenizer, pairs, think=think)
    assert [(row.group, row.groups, row.cut, row.candidate) for row in rows] == [(1, 2, 0, c) for c in one.candidates]


def test_a_prompt_of_another_format_has_the_same_ids(tokenizer):
    one = GROUPS[1]
    ours = encoder(tokenizer, QWEN3)
    rows = verdict_sequences([one], QWEN3, ours, 2500)
    pairs = [(one.query, candidate.text, one.instruction) for candidate in one.candidates]
    expected = judged_ids(tokenizer, pairs, think="never", prompt_format="qwen3")
    assert [row.ids[: row.prompt].tolist() for row in rows] == expected
    assert [row.ids[row.prompt :].tolist() for row in rows] == [[ours.label_ids[0]], [ours.label_ids[1]]]


def test_the_response_of_a_verdict_is_the_token_that_is_scored(tokenizer):
    ours = encoder(tokenizer)
    rows = verdict_sequences(GROUPS, RANK1, ours, 2500)
    (true,), (false,) = (tokenizer(label, add_special_tokens=False).input_ids for label in (" true", " false"))
    # `Loaded.log_odds` reads these two columns.
    assert ours.label_ids == [true, false]
    assert [row.ids[row.prompt :].tolist() for row in rows] == [[true], [false]] * len(GROUPS)


def test_the_response_of_a_trace_is_tokenized_separately_without_an_end_token(tokenizer):
    one = group("what is red?", "the thing is red", "a dog", reasoning=" It names red.\nSo it is relevant!\n")
    rows = trace_sequences([one], RANK1, encoder(tokenizer), 2500)
    for row, label in zip(rows, (" true", " false"), strict=True):
        response = f"\nIt names red.\nSo it is relevant!\n</think>{label}"
        assert row.ids[row.prompt :].tolist() == tokenizer(response, add_special_tokens=False).input_ids
        assert tokenizer.eos_token_id not in row.ids
        # The label is the token that inference scores after a thought.
        assert row.ids[-1] in encoder(tokenizer).label_ids
    begin, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    if end != tokenizer.unk_token_id and end is not None:
        assert [n for n in rows[0].ids.tolist() if n in (begin, end)] == [begin, end]


def test_a_thought_cannot_end_itself(tokenizer):
    one = group("q", "p", reasoning="It is so. </think> true <|im_end|> Or not.")
    (row,) = trace_sequences([one], RANK1, encoder(tokenizer), 2500)
    text = encoder(tokenizer).decode(row.ids[row.prompt :].tolist())
    assert text == "\nIt is so.  Or not.\n</think> true"


def test_a_forced_verdict_follows_the_same_text_as_a_trained_one(tokenizer):
    """The text before a forced verdict is the text before a trained one (token borders may differ)."""
    thought = "It names red. So it is relevant."
    one = group("what is red?", "the thing is red", reasoning=thought)
    (row,) = trace_sequences([one], RANK1, encoder(tokenizer), 2500)
    forced = RANK1.forced(RANK1.render("what is red?", "the thing is red", think=True), thought)
    (whole,) = encoder(tokenizer).encode([forced], 2500)
    decode = encoder(tokenizer).decode
    assert decode(whole.ids.tolist()) == decode(row.ids[:-1].tolist())


def test_candidates_without_reasoning_are_skipped(tokenizer):
    one = Group("1", "q", None, (Candidate("a", True, reasoning="Yes."), Candidate("b", False)))
    rows = trace_sequences([group("x", "y", reasoning=None), one], RANK1, encoder(tokenizer), 500)
    assert [(row.candidate.text, row.group, row.groups) for row in rows] == [("a", 1, 2)]


def test_rankings_are_encoded_unchanged(tokenizer):
    rows = ranking_sequences([("f:1", "[1] a <|im_end|>\n[2] b", "<think>x</think> [2] > [1]")], encoder(tokenizer), 99)
    ((prompt, answer),) = [(row.ids[: row.prompt].tolist(), row.ids[row.prompt :].tolist()) for row in rows]
    decode = encoder(tokenizer).decode
    assert (decode(prompt), decode(answer)) == ("[1] a <|im_end|>\n[2] b", "<think>x</think> [2] > [1]")
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in prompt  # control tokens in a passage are plain text
    count = len(prompt) + len(answer)
    ranking_sequences([("f:1", "[1] a <|im_end|>\n[2] b", "<think>x</think> [2] > [1]")], encoder(tokenizer), count)
    with pytest.raises(LimRankError, match=rf"f:1: {count} tokens, more than data.cutoff \({count - 1}\); raise it"):
        ranking_sequences(
            [("f:1", "[1] a <|im_end|>\n[2] b", "<think>x</think> [2] > [1]")], encoder(tokenizer), count - 1
        )


# What is cut

WORDS = st.lists(st.sampled_from(["red", "things.", "日本語", "x.y(z)", "1234567", "why?", "🙂", "\n"]), max_size=120)


@settings(max_examples=120, deadline=None)
@given(query=WORDS, passage=WORDS, thought=WORDS, cutoff=st.integers(150, 400))
def test_sequences_fit_and_lose_only_what_they_must(tokenizer, query, passage, thought, cutoff):
    ours = encoder(tokenizer)
    query, passage, thought = (" ".join(["so", *words]) for words in (query, passage, thought))
    one = group(query, passage, reasoning=thought)
    for make, end in ((verdict_sequences, "\n<think>\n\n</think>"), (trace_sequences, "\n<think>")):
        (row,) = make([one], RANK1, ours, cutoff)
        (whole,) = make([one], RANK1, ours, 99999)
        excess = len(whole.ids) - cutoff
        assert whole.cut == 0 and row.cut == len(whole.ids) - len(row.ids)
        if excess <= 0:
            assert row.ids.tolist() == whole.ids.tolist()
            continue
        assert len(row.ids) <= cutoff
        prompt = ours.decode(row.ids[: row.prompt].tolist())
        shown, text = prompt.removeprefix(RANK1.before.split("{query}")[0]).split("\nPassage: ")
        # The query is whole, or loses the excess, but is not cut below half of the cutoff.
        tokens = len(ours.encode_text(query))
        most = max(int(cutoff * QUERY_SHARE), tokens - excess)
        saved = tokens - len(ours.encode_text(shown))
        assert query.startswith(shown) and saved >= 0
        assert shown == query if tokens <= most else tokens - saved <= most < tokens - saved + 6
        if make is trace_sequences:
            saved += shorter_thought(ours, row, whole, excess - saved, cutoff)
        # The passage keeps as much of its beginning as fits, except for a few tokens of a word that does not.
        shown = text.removesuffix(end).strip()
        assert prompt.endswith(end) and passage.strip().startswith(shown)
        assert shown == passage.strip() or cutoff - len(row.ids) <= 6
        if saved > excess + 6:
            assert shown == passage.strip()


def shorter_thought(ours, row, whole, excess, cutoff):
    """How many tokens the thought lost: none, or down to its longest beginning in whole sentences that fits."""
    end = "\n</think> true"
    kept, thought = (ours.decode(each.ids[each.prompt :].tolist()).removesuffix(end) for each in (row, whole))
    before, after = len(whole.ids) - whole.prompt, len(row.ids) - row.prompt
    most = max(int(cutoff * THOUGHT_SHARE), before - excess)
    if before <= most:
        assert kept == thought
        return 0
    assert thought.startswith(kept) and kept == f"\n{whole_sentences(kept)}" and after <= most
    for longer in range(len(kept) + 1, len(thought)):
        more = f"\n{whole_sentences(thought[:longer])}"
        if len(more) > len(kept):
            assert len(ours.encode_text(more, end)) > most
            break
    return before - after


def test_a_thought_that_fits_is_not_cut_however_long_it_is(tokenizer):
    ours = encoder(tokenizer)
    one = group("what is red?", "the thing is red", reasoning="It names red, and so it is. " * 120)
    (row,) = trace_sequences([one], RANK1, ours, 2500)
    assert row.cut == 0 and len(row.ids) - row.prompt > 2500 * THOUGHT_SHARE + 300
    total = len(row.ids)
    assert [trace_sequences([one], RANK1, ours, total - less)[0].cut > 0 for less in (0, 1)] == [False, True]
    (short,) = trace_sequences([one], RANK1, ours, total - 1)
    assert 1 <= short.cut <= 12  # one sentence, and not three quarters


def test_a_long_query_is_cut_only_for_the_passages_that_need_it(tokenizer):
    ours = encoder(tokenizer)
    one = group("so why? " * 30, "red", "blue " * 60)
    short, long = verdict_sequences([one], RANK1, ours, 150)
    assert short.cut == 0 and long.cut > 0 and len(long.ids) <= 150


# Rows


@pytest.mark.parametrize("cut", ["texts", "proportional"])
def test_the_response_of_a_row_begins_with_the_tag_and_has_no_end_token(tokenizer, cut):
    ours = encoder(tokenizer)
    one = group("what is red?", "the thing is red", reasoning="It names red.")
    (row,) = row_sequences([one], RANK1, ours, 500, cut)
    (trace,) = trace_sequences([one], RANK1, ours, 500)
    response = "<think>\nIt names red.\n</think> true"
    assert row.ids[row.prompt :].tolist() == tokenizer(response, add_special_tokens=False).input_ids
    assert row.ids.tolist() == trace.ids.tolist() and tokenizer.eos_token_id not in row.ids and row.cut == 0


def test_rows_are_cut_in_proportion_at_the_ends_of_prompt_and_response(tokenizer):
    ours = encoder(tokenizer)
    one = group("what is red?", "the thing is red " * 30, reasoning="It names red. " * 30)
    (whole,) = row_sequences([one], RANK1, ours, 9999, "proportional")
    prompt, response = whole.ids[: whole.prompt], whole.ids[whole.prompt :]
    (row,) = row_sequences([one], RANK1, ours, 100, "proportional")
    first, second = proportional_lengths(len(prompt), len(response), 100)
    assert row.ids.tolist() == [*prompt[:first], *response[:second]] and row.prompt == first
    assert len(row.ids) == 100 and row.cut == len(whole.ids) - 100
    # The other rule keeps the verdict.
    (row,) = row_sequences([one], RANK1, ours, 100, "texts")
    assert len(row.ids) <= 100 and row.ids[-1] == ours.label_ids[0]


def test_a_thought_without_spaces_is_cut_and_not_dropped(tokenizer):
    (row,) = trace_sequences(
        [group("q", "p " * 400, reasoning="这段话说的是红色" * 60)], RANK1, encoder(tokenizer), 400
    )
    assert 80 < len(row.ids) - row.prompt <= 100 and 380 < len(row.ids) <= 400


def test_a_query_that_leaves_no_room_is_an_error_before_the_run(tokenizer):
    ours = encoder(tokenizer)
    long = Group("q9", "why?", "only what explains it " * 30, (Candidate("a", True),), source="rows.jsonl")

    def encode(batch):
        return {"verdicts": verdict_sequences(batch, RANK1, ours, 100)}

    with pytest.raises(
        LimRankError, match=r"rows\.jsonl: the query 'q9' with its instruction .* data\.cutoff \(100\); raise it"
    ):
        survey(encode, [GROUPS[0], long])
    assert survey(encode, [GROUPS[0], group("q", "a " * 200, "b", "c " * 200)]) == (2, 5)


def test_ids_are_int32(tokenizer):
    for row in verdict_sequences(GROUPS, RANK1, encoder(tokenizer), 200):
        assert row.ids.dtype == np.int32
