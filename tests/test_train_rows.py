"""Training rows: all layouts, and errors for bad input."""

from __future__ import annotations

import gzip
import json

import pytest

from limrank_ir.errors import LimRankError
from limrank_ir.prompts import RANK1
from limrank_ir.train.rows import Candidate, Group, read_groups
from tests import training
from tests.training import GROUP, PAIR, write


def test_groups(tmp_path):
    row = {"qid": "7", "query": "q", "pos": ["a", "b"], "neg": ["c"], "instruction": "i", "reasoning": "why"}
    more = {"grades": [1, 0.5, 0], "license": "MIT", "source": "here"}
    first, second = read_groups(write(tmp_path, row | more, {"query": "p", "pos": ["d"], "neg": []}))
    assert first == Group(
        "7",
        "q",
        "i",
        (Candidate("a", True, 1.0, "why"), Candidate("b", True, 0.5, "why"), Candidate("c", False, 0.0)),
        "MIT",
        "here",
    )
    assert second == Group("p", "p", None, (Candidate("d", True),), None, "rows.jsonl")


def test_pairs_of_a_query_make_a_group_with_positives_first(tmp_path):
    rows = [
        {"query": "q", "passage": "n1", "label": False, "grade": 0.25},
        {"query": "other", "passage": "x", "label": " True "},
        {"query": "q", "passage": "p1", "label": "true", "reasoning": "why"},
        {"query": "q", "passage": "n2", "label": "false"},
        {"query": "q", "instruction": "another task", "passage": "p1", "label": False},
    ]
    found = read_groups(write(tmp_path, *rows))
    assert [[(c.text, c.label, c.grade, c.reasoning) for c in group.candidates] for group in found] == [
        [("p1", True, None, "why"), ("n1", False, 0.25, None), ("n2", False, None, None)],
        [("x", True, None, None)],
        [("p1", False, None, None)],
    ]


def alpaca(query, passage, output, end="", **more):
    first, rest = RANK1.render(query, passage).prefix.split("\n", 1)
    return {"instruction": first, "input": rest + passage + end, "output": output, **more}


@pytest.mark.parametrize("end", ["", "\n", "\n<think>"])
def test_alpaca_rows_are_parsed_back_into_query_and_passage(tmp_path, end):
    thought = "Okay.\n\nIt says so. </think> is a tag."
    path = write(
        tmp_path,
        alpaca("two\nlines?", "it is\nso", f"<think>\n{thought}\n</think> true", end),
        alpaca("two\nlines?", "no", "false", end),
        alpaca("q", "p", "<think></think>\nFALSE\n", end),
    )
    first, second = read_groups(path)
    assert (first.query, first.instruction, second.query) == ("two\nlines?", None, "q")
    found = [(c.label, c.reasoning) for group in (first, second) for c in group.candidates]
    assert found == [(True, thought), (False, None), (False, None)]
    # Text that some datasets have after the passage is not part of it; the prompt is the wire format again.
    prompt = RANK1.render(first.query, first.candidates[0].text, think=True)
    assert prompt.text == (f"{RANK1.before.format(query=first.query)}it is\nso\n<think>")


def test_json_lists_and_gzip_files_are_read(tmp_path):
    rows = training.groups(3)
    plain = read_groups(write(tmp_path, *rows))
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{**row, "source": "rows.jsonl"} for row in rows], indent=1))
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "rows.jsonl").read_bytes()))
    assert read_groups(listed) == plain
    assert [group.candidates for group in read_groups(packed)] == [group.candidates for group in plain]


BAD_ROWS = {
    "no query": (
        {"pos": ["a"], "neg": []},
        r":2: the column 'query' is missing or null \(columns here: 'pos', 'neg'\)",
    ),
    "no neg": ({"query": "q", "pos": ["a"]}, ":2: the column 'neg' is missing"),
    "empty query": (GROUP | {"query": " "}, ":2: the query is empty; add the text or remove this row"),
    "no positive": (GROUP | {"pos": []}, ":2: 'pos' is empty; a group needs a relevant passage"),
    "empty passage": (GROUP | {"neg": [" "]}, ":2: 'neg' must be a list of passages that are not empty"),
    "no list": (GROUP | {"pos": "a"}, ":2: 'pos' must be a list of passages"),
    "half a character": (GROUP | {"pos": ["\ud83d"]}, r":2: 'pos' holds half a character"),
    "a number": (GROUP | {"instruction": 3}, ":2: 'instruction' holds no text; make it a string"),
    "grades too few": (GROUP | {"grades": [1]}, ":2: 'grades' must be a list of 2 numbers, one for each passage"),
    "grade too high": (GROUP | {"grades": [1, 1.5]}, r":2: the grade 1.5 is not a number from 0 to 1"),
    "grade no number": (GROUP | {"grades": [True, 0]}, ":2: the grade True is not a number from 0 to 1"),
    "grade not a number": (GROUP | {"grades": [float("nan"), 0]}, ":2: the grade nan is not a number from 0 to 1"),
    "no object": ([1], ":2: JSON, but not an object; write one object per row"),
}
BAD_PAIRS = {
    "no label": ({"query": "q", "passage": "a"}, ":2: the column 'label' is missing"),
    "no passage": ({"query": "q", "label": True}, ":2: the column 'passage' is missing"),
    "label a word": (PAIR | {"label": "maybe"}, ":2: the label is 'maybe', neither true nor false; fix or remove"),
    "label a number": (PAIR | {"label": 1}, ":2: the label is '1', neither true nor false"),
    "empty passage": (PAIR | {"passage": ""}, ":2: the passage is empty; add the text or remove this row"),
    "grade": (PAIR | {"grade": -0.1}, ":2: the grade -0.1 is not a number from 0 to 1"),
}
BAD_ALPACA = {
    "no prompt": (alpaca("q", "p", "true") | {"input": "Rank these"}, ":2: instruction and input are not the rank1"),
    "no verdict": (alpaca("q", "p", "<think>a thought without an end"), ":2: the label is .* neither true nor false"),
    "other verdict": (alpaca("q", "p", "<think>a</think> yes"), ":2: the label is 'yes', neither true nor false"),
    "no input": ({"instruction": "i", "output": "true"}, ":2: the column 'input' is missing"),
}
CASES = [
    pytest.param(good, bad, message, id=f"{layout}: {name}")
    for layout, good, cases in (
        ("groups", GROUP, BAD_ROWS),
        ("pairs", PAIR, BAD_PAIRS),
        ("alpaca", alpaca("q", "p", "true"), BAD_ALPACA),
    )
    for name, (bad, message) in cases.items()
]


@pytest.mark.parametrize(("good", "bad", "message"), CASES)
def test_bad_rows_are_named(tmp_path, good, bad, message):
    with pytest.raises(LimRankError, match=rf"rows\.jsonl{message}"):
        read_groups(write(tmp_path, good, bad))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"query": "q"\n', r":1: malformed JSON \(.*column 14\); write one object per line"),
        ('[{"query": "q"},\n  oops]', r":2: malformed JSON .* write a list of objects"),
        ("[]", ": no rows; check how it was made"),
        ("\n", ": the file is empty"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(LimRankError, match=rf"rows\.jsonl{message}"):
        read_groups(path)
