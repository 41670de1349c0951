"""Training data: rows of all layouts, the mixture, whole rankings, and errors for bad input before anything loads."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from limrank_ir.errors import LimRankError
from limrank_ir.prompts import RANK1
from limrank_ir.train.config import Data, DataSource, read_config
from limrank_ir.train.mixture import check_license, data_hash, mix
from limrank_ir.train.rankings import read_rankings
from limrank_ir.train.rows import Candidate, Group, read_groups
from tests import training
from tests.training import write_config, write_rows


def write(tmp_path, *rows, name="rows.jsonl"):
    return write_rows(tmp_path / name, list(rows))


# Rows


def test_groups(tmp_path):
    row = {"qid": "7", "query": "q", "pos": ["a", "b"], "neg": ["c"], "instruction": "i", "reasoning": "why"}
    more = {"grades": [1, 0.5, 0], "licence": "MIT", "source": "here"}
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
    assert prompt.text == (f"{RANK1.query_line.format(query=first.query)}it is\nso\n<think>")


def test_json_lists_and_gzip_files_are_read(tmp_path):
    rows = training.groups(3)
    plain = read_groups(write(tmp_path, *rows))
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{**row, "source": "rows.jsonl"} for row in rows], indent=1))
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "rows.jsonl").read_bytes()))
    assert read_groups(listed) == plain
    assert [group.candidates for group in read_groups(packed)] == [group.candidates for group in plain]


GROUP = {"query": "q", "pos": ["a"], "neg": ["b"]}
PAIR = {"query": "q", "passage": "a", "label": True}
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


# The mixture


def sources(tmp_path, *counts, **settings):
    made = []
    for number, count in enumerate(counts):
        rows = [row | {"qid": f"{number} {row['qid']}"} for row in training.groups(count)]
        made.append(DataSource(path=write_rows(tmp_path / f"s{number}" / "train.jsonl", rows), **settings))
    return Data(folder=tmp_path, sources=tuple(made))


def test_the_same_seed_draws_the_same_and_another_does_not(tmp_path):
    data = sources(tmp_path, 16, 16, queries=6, negatives=2)
    assert mix(data, 1) == mix(data, 1)
    assert len({data_hash(mix(data, seed)) for seed in (1, 2, 3)}) == 3
    assert data_hash(mix(data, 1)) == data_hash(mix(data, 1))


def test_the_sample_of_a_source_does_not_depend_on_the_others(tmp_path):
    data = sources(tmp_path, 16, 16, 16, queries=5, negatives=2, keep_instruction=0.5)

    def drawn(chosen):
        groups = mix(data.model_copy(update={"sources": chosen}), 3)
        return sorted((group for group in groups if group.qid.startswith("1 ")), key=lambda group: group.qid)

    one, two, three = data.sources
    alone = drawn((two,))
    assert len(alone) == 5
    assert drawn((one, two, three)) == alone and drawn((three, two)) == alone


def test_a_smaller_share_is_a_subset_of_a_larger_one(tmp_path):
    data = sources(tmp_path, 16, 16, queries=7, negatives=2, keep_instruction=0.5)
    parts = [mix(data.model_copy(update={"share": share}), 3) for share in (0.25, 0.5, 1.0)]
    assert [len(part) for part in parts] == [4, 8, 14]  # rounded up, source by source
    assert set(parts[0]) < set(parts[1]) < set(parts[2]) == set(mix(data, 3))


def test_sources_are_shuffled_together(tmp_path):
    order = [group.qid[0] for group in mix(sources(tmp_path, 16, 16), 3)]
    assert sorted(order) == ["0"] * 16 + ["1"] * 16 and order != sorted(order) and order != sorted(order)[::-1]


def test_groups_have_one_positive_and_some_negatives(tmp_path):
    row = {"query": "q", "pos": ["p1", "p2", "p3"], "neg": [f"n{i}" for i in range(9)], "licence": "MIT"}
    path = write(tmp_path, row)

    def made(**settings):
        return mix(Data(folder=tmp_path, sources=(DataSource(path=path, **settings),)), 5)

    (one,) = made(negatives=4)
    assert [c.label for c in one.candidates] == [True] + [False] * 4
    assert len({c.text for c in one.candidates}) == 5
    groups = made(negatives=4, groups_per_query=2)
    assert len({group.candidates[0].text for group in groups}) == 2
    assert len({frozenset(c.text for c in group.candidates[1:]) for group in groups}) == 2
    every = made(negatives=99, groups_per_query=9)
    assert sorted(group.candidates[0].text for group in every) == ["p1", "p2", "p3"]
    assert all(sum(c.label for c in group.candidates) == 1 and len(group.candidates) == 10 for group in every)


def test_reasoning_about_the_query_becomes_the_thought_of_all_its_passages(tmp_path):
    path = write(tmp_path, {"query": "q", "pos": ["p"], "neg": ["n"], "reasoning": "why", "licence": "MIT"})
    mixed = {
        kind: mix(Data(folder=tmp_path, sources=(DataSource(path=path, reasoning=kind),)), 0)
        for kind in ("positives", "all")
    }
    assert [c.reasoning for c in mixed["positives"][0].candidates] == ["why", None]
    assert [c.reasoning for c in mixed["all"][0].candidates] == ["why", "why"]
    assert data_hash(mixed["positives"]) != data_hash(mixed["all"])


def test_a_query_without_positives_is_one_group_unless_negatives_is_0(tmp_path):
    rows = [{"query": query, "passage": "p", "label": query == "a", "licence": "MIT"} for query in "abc"]
    source = DataSource(path=write(tmp_path, *rows), groups_per_query=3)
    groups = mix(Data(folder=tmp_path, sources=(source,)), 0)
    assert sorted((group.query, [c.label for c in group.candidates]) for group in groups) == [
        ("a", [True]),
        ("b", [False]),
        ("c", [False]),
    ]
    (only,) = mix(Data(folder=tmp_path, sources=(source.model_copy(update={"negatives": 0}),)), 0)
    assert only.query == "a"


def test_only_the_requested_words_and_instructions_are_kept(tmp_path):
    row = {"query": "one  two three", "pos": [" a b\tc d"], "neg": ["e"], "instruction": "i", "licence": "MIT"}
    rows = [row | {"query": f"{row['query']} {number}"} for number in range(40)]
    source = DataSource(path=write(tmp_path, *rows), query_words=2, passage_words=3, keep_instruction=0.5)
    groups = mix(Data(folder=tmp_path, sources=(source,)), 0)
    assert {group.query for group in groups} == {"one  two"}
    assert {tuple(c.text for c in group.candidates) for group in groups} == {(" a b\tc", "e")}
    assert 10 < sum(group.instruction == "i" for group in groups) < 30


def test_held_back_queries_are_not_trained_on(tmp_path):
    data = sources(tmp_path, 8)
    topics = tmp_path / "topics.tsv"
    topics.write_text("1\tFind  RED thing, number 0!\n2\tsomething else\n")
    held = mix(data.model_copy(update={"exclude_topics": (topics,)}), 0)
    assert {group.query for group in mix(data, 0)} - {group.query for group in held} == {"find red thing number 0"}


@pytest.mark.parametrize(
    "license",
    [
        None,
        "",
        "CC BY-NC 4.0",
        "cc_by_nc_4.0",
        "CC-BY-NC-SA-4.0",
        "Attribution-NonCommercial",
        "AttributionNonCommercial",
        "non commercial use",
        "not for commercial use",
        "Microsoft Research data licence (research only)",
        "none stated",
        "not openly licensed",
        "unknown",
        "n/a",
        "All rights reserved",
        "proprietary",
    ],
)
def test_closed_licenses_are_refused(tmp_path, license):
    data = sources(tmp_path, 3)
    rows = training.groups(3)
    rows[1]["licence"] = license
    write_rows(tmp_path / "s0" / "train.jsonl", rows)
    with pytest.raises(LimRankError, match=r"train\.jsonl: the row 'q1' is not openly licensed .*open_licenses_only"):
        mix(data, 0)
    assert len(mix(data.model_copy(update={"open_licenses_only": False}), 0)) == 3


@pytest.mark.parametrize(
    "license",
    ["MIT", "Apache-2.0", "CC-BY-4.0", "CC BY-SA 3.0", "BSD-2-Clause/OGL-3.0", "ODC-By 1.0", "CC0", "Public domain"],
)
def test_open_licenses_pass(license):
    check_license(license, "a row")


def test_one_closed_pair_makes_its_group_closed(tmp_path):
    pairs = [PAIR | {"licence": "MIT"}, PAIR | {"passage": "b", "license": "CC BY-NC 4.0"}]
    data = Data(folder=tmp_path, sources=(DataSource(path=write(tmp_path, *pairs)),))
    with pytest.raises(LimRankError, match=r"'q' is not openly licensed \(MIT; CC BY-NC 4.0\)"):
        mix(data, 0)


# Whole rankings

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
        ("setwise", {"output": "[2]", "licence": "CC BY-NC 4.0"}, "the row is not openly licensed"),
        ("setwise", {"output": "[2]", "license": None}, r"the row is not openly licensed \(not stated\)"),
    ],
)
def test_bad_rankings_are_named(tmp_path, layout, change, message):
    good = LIST | {"output": "[2] > [1] > [3]" if layout == "listwise" else "[2]"}
    with pytest.raises(LimRankError, match=rf"rows\.jsonl:2: .*{message}"):
        rankings(tmp_path, layout, good, good | change)


# Errors of a run, before any weights load


def config(tmp_path, **changes):
    return write_config(tmp_path / "run.yaml", tmp_path / "no-weights-here", **changes)


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A run on a folder without weights; looking for them raises another error than the expected one."""
    (tmp_path / "no-weights-here").mkdir()
    import limrank_ir.train.run as run

    def reached(name: str) -> Path:
        raise AssertionError(f"the weights {name} were looked for")

    monkeypatch.setattr(run, "locate", reached)
    write_rows(tmp_path / "rows.jsonl", training.groups())
    return run.train


BAD_CONFIGS = {
    "unknown setting": ({"learning_rate": 1}, r"run\.yaml: learning_rate: unknown setting; check its name"),
    "unknown setting inside": ({"data": {"mixture": 1}}, r"run\.yaml: data\.mixture: unknown setting"),
    "unknown objective": ({"objectives": {"dpo": 1}}, "objectives: unknown objective 'dpo'; choose from: traces, "),
    "weight": ({"objectives": {"binary": 0}}, "the weight of binary is 0.0; it must be a number above 0"),
    "no weight": ({"objectives": {"binary": float("nan")}}, "the weight of binary is nan"),
    "no objective": ({"objectives": {}}, "objectives: "),
    "negatives": ({"data": {"sources": [{"path": "rows.jsonl", "negatives": -1}]}}, r"data\.sources\.0\.negatives: "),
    "no sources": ({"data": {"sources": []}}, r"data\.sources: "),
    "cutoff": ({"data": {"cutoff": 3}}, r"data\.cutoff: .* greater than or equal to 16"),
    "seed": ({"seed": -1}, "seed: .* greater than or equal to 0"),
    "prompt format": ({"prompt_format": "rank2"}, "prompt_format: unknown prompt format 'rank2'; choose one of"),
    "teacher": ({"objectives": {"distill": 1}}, "the objective distill needs data.teacher, such as: minilm"),
    "layout": ({"data": {"layout": "listwise"}}, "listwise rows have no verdicts; their only objective is traces"),
    "packed": (
        {"packed": True, "training": {"gradient_checkpointing": True}},
        "packed does not work with gradient_checkpointing",
    ),
    "ours": ({"training": {"seed": 3}}, r"training: training\.seed is set by limrank \(output, seed\); remove it"),
    "training": ({"training": {"lerning_rate": 1}}, r"run\.yaml: training\.lerning_rate: .* mean learning_rate"),
    "training value": ({"training": {"save_strategy": "sometimes"}}, r"run\.yaml: training: .*sometimes"),
    "learning rate": ({"training": {"learning_rate": "fast"}}, r"run\.yaml: training: .*learning_rate"),
    "unknown model": ({"model": "limrank-7c"}, "unknown model 'limrank-7c'"),
    "too few": (
        {"data": {"sources": [{"path": "rows.jsonl", "queries": 17}]}},
        r"rows\.jsonl: 17 queries requested, but only 16 available",
    ),
    "no file": ({"data": {"sources": [{"path": "none.jsonl"}]}}, r"none\.jsonl: no such file; check the path"),
    "no thinking": ({"prompt_format": "qwen3", "objectives": {"traces": 1}}, "qwen3 cannot think; remove traces"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_bad_configuration_is_named_before_weights_load(tmp_path, no_weights, changes, message):
    with pytest.raises(LimRankError, match=message):
        no_weights(config(tmp_path, **changes))


def test_traces_alone_need_reasoning_in_every_group(tmp_path, no_weights):
    rows = training.groups()
    del rows[3]["reasoning"]
    write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(LimRankError, match=r"rows\.jsonl: the row 'q3' has no reasoning \(1 of 16 rows\)"):
        no_weights(config(tmp_path, objectives={"traces": 1}))
    with pytest.raises(AssertionError, match="looked for"):
        no_weights(config(tmp_path, objectives={"traces": 1, "binary": 1}))
    write_rows(tmp_path / "rows.jsonl", [{**row, "reasoning": None} for row in rows])
    with pytest.raises(LimRankError, match=r"has no reasoning \(16 of 16 rows\)"):
        no_weights(config(tmp_path, objectives={"traces": 1, "binary": 1}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("- 1", "not a configuration"),
        ("model: x", "data: Field required; objectives: Field required; output: Field required"),
    ],
)
def test_a_file_that_is_not_a_configuration(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(LimRankError, match=rf"run\.yaml: .*{message}"):
        read_config(path)
    with pytest.raises(LimRankError, match=r"other\.yaml: cannot be read \(No such file or directory\)"):
        read_config(tmp_path / "other.yaml")


def test_settings_can_be_overridden(tmp_path):
    path = write_config(tmp_path / "run.yaml", "m")
    changes = ["training.max_steps=7", "data.share=0.25", "lora.layers=[1, 2]", "seed=3", "training.report_to=none"]
    read, plain = read_config(path, changes=changes), read_config(path)
    assert read.training == {**plain.training, "max_steps": 7, "report_to": "none"}
    assert (read.data.share, read.lora.layers, read.seed) == (0.25, (1, 2), 3)
    assert read.data.sources == plain.data.sources


@pytest.mark.parametrize(
    ("change", "message"),
    {
        "training.max_steps": "must be NAME=VALUE, such as training.max_steps=600",
        "=7": "must be NAME=VALUE",
        "data.sources.path=x": "cannot set data.sources.path",
        "data.sources.0.path=x": "cannot set",
        "model.name=x": "cannot set model.name",
        "lora.layers=[": "cannot set",
        "data.shares=1": "data.shares: unknown setting",
        "seed=-1": "seed: Input should be greater than or equal to 0",
    }.items(),
)
def test_overrides_that_are_not_valid(tmp_path, change, message):
    with pytest.raises(LimRankError, match=message):
        read_config(write_config(tmp_path / "run.yaml", "m"), changes=[change])


def test_paths_are_relative_to_the_configuration(tmp_path):
    path = tmp_path / "configs" / "run.yaml"
    data = {"folder": "../data", "exclude_topics": ["b/topics.jsonl"]}
    data["sources"] = [{"path": "a/t.jsonl"}, {"path": "p.jsonl", "folder": "../own"}]
    read = read_config(write_config(path, "m", data=data, output="../out"))
    assert read.output == tmp_path / "out" and read.data.folder == tmp_path / "data"
    assert [source.path for source in read.data.sources] == [tmp_path / "data/a/t.jsonl", tmp_path / "own/p.jsonl"]
    assert read.data.exclude_topics == (tmp_path / "data/b/topics.jsonl",)


def test_bad_data_is_found_without_loading_torch(tmp_path):
    (tmp_path / "no-weights-here").mkdir()
    write_rows(tmp_path / "rows.jsonl", [GROUP | {"grades": [2, 0]}])
    code = (
        "import sys; from pathlib import Path\n"
        "from limrank_ir.errors import LimRankError\n"
        "from limrank_ir.train.run import train\n"
        "try: train(Path(sys.argv[1]))\n"
        "except LimRankError as error: print(error, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(config(tmp_path))], capture_output=True, text=True, check=True
    )
    assert made.stdout.endswith("rows.jsonl:1: the grade 2 is not a number from 0 to 1 False False\n")


def test_a_number_that_yaml_reads_as_text(tmp_path):
    from limrank_ir.train.run import arguments

    path = config(tmp_path, training={"learning_rate": "1e-4", "max_steps": "5"})
    made = arguments(read_config(path), path)
    assert (made.learning_rate, made.max_steps) == (1e-4, 5)


def test_the_shipped_configurations_are_installed_and_valid():
    import limrank_ir.train

    places = sorted((Path(limrank_ir.train.__file__).parent / "configs").glob("*.yaml"))
    assert "limrank-smol.yaml" in [place.name for place in places]
    for place in places:
        assert read_config(place).model == yaml.safe_load(place.read_text())["model"]
