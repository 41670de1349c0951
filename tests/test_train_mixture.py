"""The mixture: what is drawn from the sources, and what is held back or refused."""

from __future__ import annotations

import pytest

from limrank_ir.errors import LimRankError
from limrank_ir.train.config import Data, DataSource
from limrank_ir.train.mixture import check_license, data_hash, excluded, mix
from tests import training
from tests.training import PAIR, write, write_rows


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
    row = {"query": "q", "pos": ["p1", "p2", "p3"], "neg": [f"n{i}" for i in range(9)], "license": "MIT"}
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
    path = write(tmp_path, {"query": "q", "pos": ["p"], "neg": ["n"], "reasoning": "why", "license": "MIT"})
    mixed = {
        kind: mix(Data(folder=tmp_path, sources=(DataSource(path=path, reasoning=kind),)), 0)
        for kind in ("positives", "all")
    }
    assert [c.reasoning for c in mixed["positives"][0].candidates] == ["why", None]
    assert [c.reasoning for c in mixed["all"][0].candidates] == ["why", "why"]
    assert data_hash(mixed["positives"]) != data_hash(mixed["all"])


def test_each_row_is_an_example_if_the_layout_is_rows(tmp_path):
    row = {"query": "q", "pos": ["p1", "p2"], "neg": ["n1", "n2", "n3"], "reasoning": "why", "licence": "MIT"}
    pairs = [PAIR | {"query": query, "passage": text, "label": label, "licence": "MIT"} for query, text, label in PAIRS]
    for path, expected in (
        (write(tmp_path, row), [("q", text, text < "o") for text in ("n1", "n2", "n3", "p1", "p2")]),
        (write(tmp_path, *pairs, name="pairs.jsonl"), [(query, text, not label) for query, text, label in PAIRS]),
    ):
        data = Data(folder=tmp_path, layout="rows", sources=(DataSource(path=path, reasoning="all"),))
        found = [(group.query, *group.candidates) for group in mix(data, 3)]
        assert sorted((query, one.text, not one.label) for query, one in found) == sorted(expected)


PAIRS = [("a", "x", True), ("a", "y", True), ("a", "x", True), ("a", "z", False), ("b", "x", False)]


def test_a_query_without_positives_is_one_group_unless_negatives_is_0(tmp_path):
    rows = [{"query": query, "passage": "p", "label": query == "a", "license": "MIT"} for query in "abc"]
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
    row = {"query": "one  two three", "pos": [" a b\tc d"], "neg": ["e"], "instruction": "i", "license": "MIT"}
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
    held_back = data.model_copy(update={"exclude_topics": (topics,)})
    lost = {group.query for group in mix(data, 0)} - {group.query for group in mix(held_back, 0)}
    assert lost == {"find red thing number 0"}
    assert excluded(data.sources[0], held_back) == [("find red thing number 0", "Find  RED thing, number 0!")]
    assert excluded(data.sources[0], data) == []


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
    rows[1]["license"] = license
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
