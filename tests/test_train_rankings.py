"""Whole rankings as training data."""

from __future__ import annotations

import pytest

from limrank_ir.errors import LimRankError
from limrank_ir.train.config import Data, DataSource
from limrank_ir.train.rankings import excluded_rankings, read_rankings
from tests.training import write

LIST = {"instruction": "Rank the passages: e.g. [9] > [8].", "input": "[1] a [7]\n[2] b\n [3] c\nQuery: hot dogs?"}


def rankings(tmp_path, layout, *rows, **settings):
    source = DataSource(path=write(tmp_path, *rows), **settings)
    return read_rankings(Data(folder=tmp_path, sources=(source,), layout=layout), 1)


def test_rankings_are_read_unchanged(tmp_path):
    row = LIST | {"output": "[2] > [1] > [3]"}
    thought = LIST | {"output": "<think>\n[1] or [2]?\n</think>\n[3] > [2]>[1]"}
    rows, digest = rankings(tmp_path, "listwise", row, thought)
    prompt = f"{LIST['instruction']}\n{LIST['input']}"
    assert sorted(rows) == [
        (f"{tmp_path}/rows.jsonl:1", prompt, row["output"]),
        (f"{tmp_path}/rows.jsonl:2", prompt, thought["output"]),
    ]
    assert digest != rankings(tmp_path, "listwise", row, row)[1]
    whole = {"instruction": f"{LIST['instruction']}\n{LIST['input']}", "output": "<think>hm</think> [2]"}
    ((_, same, answer),), _ = rankings(tmp_path, "setwise", whole)
    assert (same, answer) == (prompt, "<think>hm</think> [2]")


def test_rankings_are_drawn_with_the_seed(tmp_path):
    rows = [LIST | {"output": "[2]", "input": f"{LIST['input']} {number}"} for number in range(20)]
    path = write(tmp_path, *rows)
    data = Data(folder=tmp_path, sources=(DataSource(path=path, queries=5),), layout="setwise")
    first, again, other = read_rankings(data, 1), read_rankings(data, 1), read_rankings(data, 2)
    assert first == again and len(first[0]) == len({prompt for _, prompt, _ in first[0]}) == 5
    assert first[1] != other[1]


def test_held_back_queries_are_not_in_rankings(tmp_path):
    topics = tmp_path / "topics.tsv"
    topics.write_text("1\tHot dogs\n")
    other = LIST | {"input": "[1] a\n[2] b\n[3] c\nQuery: hot dogsled", "output": "[2]"}
    path = write(tmp_path, LIST | {"output": "[2]"}, other)
    data = Data(folder=tmp_path, sources=(DataSource(path=path),), layout="setwise", exclude_topics=(topics,))
    ((place, _, _),), _ = read_rankings(data, 1)
    assert place.endswith(":2")
    assert [theirs for _, theirs in excluded_rankings(data.sources[0], data)] == ["Hot dogs"]


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("listwise", {"output": "[2] > [1]"}, "must name each of the prompt's 3 identifiers once"),
        ("listwise", {"output": "[2] > [1] > [3] > [3]"}, "must name each of the prompt's 3 identifiers once"),
        ("listwise", {"output": "[2] > [1] > [7]"}, r"the answer ends in '\[2\] > \[1\] > \[7\]'"),
        ("listwise", {"output": "[2] > [1] = [3]"}, "a listwise answer"),
        ("listwise", {"output": "<think>open [2] > [1] > [3]"}, "a listwise answer"),
        ("listwise", {"output": ""}, "a listwise answer"),
        (
            "setwise",
            {"output": "[2] > [1]"},
            r"setwise answer must be one of the prompt's identifiers, such as \[1\]",
        ),
        ("setwise", {"output": "[4]"}, "a setwise answer"),
        ("setwise", {"output": "2"}, "a setwise answer"),
        ("setwise", {"output": "[2]", "input": "[1] a"}, r"must have two or more passages.*\(found: \[1\]\)"),
        ("setwise", {"output": "[1]", "input": "[1] a\n[1] b"}, "a different identifier"),
        ("setwise", {"output": None}, "the column 'output' is missing"),
        ("setwise", {"output": "[2]", "license": "CC BY-NC 4.0"}, "the row is not openly licensed"),
        ("setwise", {"output": "[2]", "license": None}, r"the row is not openly licensed \(not stated\)"),
    ],
)
def test_bad_rankings_are_named(tmp_path, layout, change, message):
    good = LIST | {"output": "[2] > [1] > [3]" if layout == "listwise" else "[2]"}
    with pytest.raises(LimRankError, match=rf"rows\.jsonl:2: .*{message}"):
        rankings(tmp_path, layout, good, good | change)
