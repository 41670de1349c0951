"""Written answers: what counts as the answer, and how it is repaired."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.rankers.asking import Answer
from limrank_ir.rankers.grades import grades
from limrank_ir.rankers.labels import labels
from limrank_ir.rankers.parse import answer_part, best, order
from limrank_ir.rankers.tally import Parsed

FEW = settings(max_examples=80, deadline=None)


def parsed(text: str, count: int) -> tuple[list[int], int] | None:
    """The order with identifiers from 1, and the repairs."""
    found = order(Answer(text=text), count)
    return found and ([place + 1 for place in found.value], found.repairs)


@pytest.mark.parametrize(
    "text",
    [
        "[2] > [1] > [3]",  # RankGPT, RankZephyr
        "[2] > [1] > [3]\n",
        "[2]>[1]>[3].",
        "[B] > [A] > [C]",
        "B > A > C",
        "2 > 1 > 3",
        "2, 1, 3",
        "Passage 2 > Passage 1 > Passage 3",
        "1. [2]\n2. [1]\n3. [3]",
        "<think>[1] > [2] > [3] it seems, or [3] > [2].</think><answer>[2] > [1] > [3]</answer>",  # ReasonRank, Rearank
        "<think>\n[3] first\n</think>\n\n[2] > [1] > [3]",
        "[1] > [3] looks right so far.</think> [2] > [1] > [3]",  # the prompt had opened the thought
        "<think>the format is <answer>[1] > [3]</answer></think> <answer> [2] > [1] > [3] </answer>",
        "<THINK>[1]</THINK><Answer>[2] > [1] > [3]</Answer>",
        "<reason>[1]: 5</reason>[2] > [1] > [3]",
        "<think></think>[2] > [1] = [3]",  # Rank-K: of ties, the one shown first
        "[2] > [3] = [1]",
        "The ranking is:\n**[2] > [1] > [3]**",
    ],
)
def test_answers_that_need_no_repair(text):
    assert parsed(text, 3) == ([2, 1, 3], 0)


@pytest.mark.parametrize(
    ("text", "expected", "repairs"),
    [
        ("[2] > [1]", [2, 1, 3], 1),  # missing ones keep their old order behind
        ("[3]", [3, 1, 2], 2),
        ("[3] > [3] > [1] > [2]", [3, 1, 2], 1),  # of repeated ones the first counts
        ("[4] > [0] > [2] > [1] > [3]", [2, 1, 3], 2),  # unknown ones are dropped
        ("[2] > [9] = [3] > [1]", [2, 3, 1], 1),
        ("[2] > [1] > [3]. Note that [1] > [3] as it has a date.", [2, 1, 3], 1),
        ("[1] > [2] > [3]. Wait: [2] > [1] > [3]", [2, 1, 3], 1),  # of equally long chains the last counts
        ("<answer>[2] > [1]", [2, 1, 3], 1),  # cut
        ("<answer>[1] > [2] > [3]</answer> no, <answer>[2] > [1] > [3]</answer>", [2, 1, 3], 0),
    ],
)
def test_answers_that_are_repaired(text, expected, repairs):
    assert parsed(text, 3) == (expected, repairs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I have ranked 3 passages by 2 criteria.",  # numbers in a sentence are no identifiers
        "A passage about a treaty",  # nor is a letter
        "<think>[2] > [1] > [3]",  # a thought that was cut
        "<think>[2] > [1] > [3]</think>",
        "<think>[2]</think><think>[2] > [1] > [3]",
        "[2] > [1] > [3]<think>or not?</think>",
        "<think>hm</think><answer></answer>[2] > [1]<answer>",
        "[4] > [5]",
        "[2026-11-29] and [note 3]",
    ],
)
def test_answers_with_nothing_usable_have_failed(text):
    assert parsed(text, 3) is None
    assert best(Answer(text=text), 3) is None


def test_identifiers_are_read_whole():
    assert parsed("[10] > [1] > [11]", 12) == ([10, 1, 11, 2, 3, 4, 5, 6, 7, 8, 9, 12], 9)
    assert parsed("10 > 1", 10) == ([10, 1, 2, 3, 4, 5, 6, 7, 8, 9], 8)
    assert parsed("[10] > [2] > [1]", 3) == ([2, 1, 3], 2)  # 10 is unknown, not 1
    found = best(Answer(text="[10]"), 12)
    assert found is not None and found.value == 9
    assert best(Answer(text="[10]"), 3) is None


@pytest.mark.parametrize(
    ("text", "repairs"),
    [
        ("[2]", 0),
        ("B", 0),
        ("2", 0),
        ("B.", 0),
        ("Passage B", 0),
        ("Passage: B", 0),
        ("document [2]", 0),
        ("**[2]**", 0),
        ("<think>[1]? [3]? No.</think><answer>[2]</answer>", 0),  # Rank-R1
        ("<think>[1]</think> <answer> [2] </answer> [3]", 0),
        ("The best one is [2].", 0),
        ("I choose passage B.", 0),
        ("[2] answers it. [2] also has a date.", 0),
        ("[2] > [1] > [3]", 2),  # a ranking names its best first
        ("[2], because [1] is too short.", 1),
        ("Passage B, because passage A is too short.", 1),
        ("[9] > [2]", 1),
    ],
)
def test_the_best_of_a_set(text, repairs):
    found = best(Answer(text=text), 3)
    assert found is not None and (found.value, found.repairs) == (1, repairs)


@pytest.mark.parametrize(
    "text", ["Of [1] and [2], I like [2].", "Is it passage A or passage B?", "None", "[4]", "Passage Z"]
)
def test_the_best_of_a_set_is_not_guessed(text):
    assert best(Answer(text=text), 3) is None


@FEW
@given(st.permutations(range(25)), st.booleans(), st.integers(0, 25))
def test_a_ranking_in_the_wire_format_is_read_back(places, letters, kept):
    names = [chr(65 + place) if letters else str(place + 1) for place in places]
    text = "<think>[1] > [2]</think><answer>" + " > ".join(f"[{name}]" for name in names[:kept]) + "</answer>"
    found = order(Answer(text=text), 25)
    if not kept:
        assert found is None
        return
    assert found is not None
    assert list(found.value) == [*places[:kept], *sorted(places[kept:])]
    assert found.repairs == 25 - kept
    first = best(Answer(text=text), 25)
    assert first is not None and first.value == places[0]


@FEW
@given(
    st.lists(st.sampled_from(["[1]", "[2]", "[12]", " > ", " = ", "<think>", "</think>", "<answer>", "{", "a", "\n"]))
)
def test_any_text_gives_a_permutation_or_none(pieces):
    answer = Answer(text="".join(pieces))
    found = order(answer, 3)
    assert found is None or (sorted(found.value) == [0, 1, 2] and found.repairs >= 0)
    one = best(answer, 3)
    assert one is None or (one.value in range(3) and one.repairs >= 0)
    if not re.search(r"\[[12]\]", answer_part(answer.text)):
        assert found is None


@pytest.mark.parametrize(
    ("text", "expected", "repairs"),
    [
        ('{"[1]": 5, "[2]": 3, "[3]": 8}', {0: 5, 1: 3, 2: 8}, 0),
        (
            '<reason>[1] is 9: {"[1]": 9}</reason>\n<answer>\n```json\n{"[1]": 5, "[2]": 3, "[3]": 8}\n```\n</answer>',
            ...,
            0,
        ),
        ('{"[1]": 5, "[2]": 3, "[3]": 8}\nThat is all {I think}.', ..., 0),
        ('{"1": 5, "2": 3.0, "C": "8"}', ..., 0),
        ('{"scores": {"[1]": 5, "[2]": 3, "[3]": 8}}', ..., 0),
        ('{"[1]]": 5, "[2]]": 3, "[3]": 8}', ..., 0),
        ('{"[1]": 1} is a draft. {"[1]": 5, "[2]": 3, "[3]": 8}', ..., 0),
        ('{"[1]": 5, "[2]": 3, "[3]": 8, "[4]": 9, "note": 1}', ..., 2),
        ('{"[1]": 5, "[2]": 3, "[3]": 8, "[1]": 0}', ..., 1),
        ('{"[1]": 5, "[2]": 3, "[3]": 8', {0: 5, 1: 3}, 2),  # cut: it may have been 8, or 8.5
        ('{"[1]": 5, "[2]": 3, "[3]": 8,', {0: 5, 1: 3, 2: 8}, 1),
        ('{"[1]": 5, "[2]": 3}', {0: 5, 1: 3}, 1),
        ('{"[1]": 5, "[2]": 11, "[3]": -1}', {0: 5}, 4),  # out of range: no grade, not 10 and not 0
        ('{"[1]": 5, "[2]": true, "[3]": null}', {0: 5}, 4),
        ('{"[1]": 5, "[2]": NaN, "[3]": Infinity}', {0: 5}, 4),
    ],
)
def test_grades(text, expected, repairs):
    found = grades(10)(Answer(text=text), 3)
    assert found is not None
    assert found.value == ({0: 5, 1: 3, 2: 8} if expected is ... else expected)
    assert found.repairs == repairs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[5, 3, 8]",
        '<reason>{"[1]": 5, "[2]": 3, "[3]": 8}',
        '<think>{"[1]": 5}</think> none',
        '{"[4]": 5}',
        '{"[1]": 99}',
        "{" * 5000,
        '{"a":' * 5000,
    ],
)
def test_grades_are_not_made_up(text):
    assert grades(10)(Answer(text=text), 3) is None


@FEW
@given(st.dictionaries(st.integers(1, 12), st.integers(0, 10), min_size=1), st.integers(1, 12))
def test_grades_in_the_wire_format_are_read_back(given_, passages):
    found = grades(10)(
        Answer(text=f"<reason>x</reason>```json\n{json.dumps({f'[{n}]': g for n, g in given_.items()})}```"), passages
    )
    known = {number - 1: value for number, value in given_.items() if number <= passages}
    assert (found.value if found else {}) == known
    if found:
        assert found.repairs == len(given_) - len(known) + passages - len(known)


def test_labels_are_all_there_or_of_no_use():
    assert labels()(Answer(logprobs=(-1.0, -2.0)), 2)
    assert labels(5)(Answer(logprobs=(-1.0,) * 5), 1)
    for logprobs in ((), (-1.0,), (-1.0,) * 3, (-1.0, float("nan")), (-1.0, float("-inf"))):
        assert labels()(Answer(logprobs=logprobs), 2) is None


@pytest.mark.parametrize("rest", [" is the most relevant", "\n\nThis passage", "\nExplanation:", ". This"])
def test_a_label_behind_passage_and_a_colon_counts_whatever_follows(rest):
    assert best(Answer(text=f" Passage: B{rest}"), 4) == Parsed(1)
    assert best(Answer(text=f" Passage: **B**{rest}"), 4) == Parsed(1)


def test_the_numbers_of_lines_are_no_identifiers():
    lines = ("1. Passage 3\n2. Passage 1\n3. Passage 2", "1. 3\n2. 1\n3. 2", "1) C\n2) A\n3) B")
    assert [order(Answer(text=text), 3) for text in lines] == [Parsed((2, 0, 1))] * 3
    assert order(Answer(text="3. 1\n1. 2"), 3) is not None  # not numbered from 1
    assert order(Answer(text="2 > A"), 3) is None


def test_a_grade_of_four_hundred_digits_is_dropped():
    text = '{"[1]": 5, "[2]": 1' + "0" * 400 + "}"
    assert grades(10)(Answer(text=text), 2) == Parsed({0: 5.0}, 2)
