"""limrank-synth-mini, the committed data set: what is in it, and that its answers reproduce it."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.formats.files import sniff
from limrank_ir.synth.audit import QUESTIONS, Audit
from limrank_ir.synth.filters.decontaminate import read_benchmarks
from limrank_ir.synth.filters.leaks import label_leak
from limrank_ir.synth.words import ngrams
from limrank_ir.train.mixture import check_license
from limrank_ir.train.rows import read_groups
from limrank_ir.workshop.contamination import Benchmarks
from tests.conftest import SHARED

MINI = Path(__file__).parents[1] / "data" / "limrank-synth-mini"
PAIRS = MINI / "dataset" / "pairs.jsonl"
CARD = " ".join((MINI / "dataset" / "README.md").read_text().split())


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in PAIRS.read_text().splitlines()]


def test_its_answers_reproduce_it_byte_for_byte(tmp_path):
    for name in ("synth.yaml", "seeds.tsv", "personas.jsonl", "guidelines.yaml", "answers.jsonl.gz"):
        shutil.copy(MINI / name, tmp_path)
    shutil.copytree(MINI / "prompts", tmp_path / "prompts")
    # the title of its card is the name of the folder
    home = tmp_path / MINI.name
    result = CliRunner().invoke(
        app, ["synth", "replay", str(tmp_path / "synth.yaml"), str(tmp_path / "answers.jsonl.gz"), "-o", str(home)]
    )
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in (home / "dataset").iterdir()} == {
        path.name: path.read_bytes() for path in (MINI / "dataset").iterdir()
    }


def test_missing_answers_are_named(tmp_path):
    answers = tmp_path / "answers.jsonl"
    line = {"custom_id": "0" * 32, "response": {"status_code": 200, "body": {"choices": []}}}
    answers.write_text(json.dumps(line) + "\n")
    result = CliRunner().invoke(app, ["synth", "replay", str(MINI / "synth.yaml"), str(answers), "-o", str(tmp_path)])
    assert result.exit_code == 2 and "150 answers for the queries are in none of these files" in result.stderr


def test_what_is_in_it(rows):
    queries = {row["qid"]: row for row in rows}
    assert len(rows) == 1097 and len(queries) == 297
    assert Counter(row["label"] for row in rows) == {True: 297, False: 800}
    assert len({row["domain"] for row in rows}) == 18
    assert Counter(row["form"] for row in queries.values()) == {"keywords": 88, "question": 119, "post": 90}
    kinds = Counter(row["kind"] for row in queries.values())
    assert set(kinds) == {"daily", "expert"} and min(kinds.values()) > 140
    assert all([judgment["label"] for judgment in row["judgments"]] == [row["label"]] for row in rows)
    own = [row for row in rows if row["borrowed_from"] is None]
    assert len({row["passage"] for row in own}) == len(own) == 1033


def test_its_passages_do_not_leak_their_labels(rows):
    own = [(row["qid"], row["passage"], row["label"]) for row in rows if row["borrowed_from"] is None]
    areas = [label_leak(own, seed=seed).auc for seed in (20251123, *range(9))]
    print(f"area under the curve: {areas[0]:.3f}; with other folds: {min(areas):.3f} to {max(areas):.3f}")
    assert max(areas) < 0.6
    assert f"{areas[0]:.2f} with the folds of this set, and {min(areas):.2f} to {max(areas):.2f}" in CARD


def test_the_audit_is_of_its_rows_and_the_card_says_what_it_found(rows):
    audit = Audit.model_validate_json((MINI / "audit.json").read_bytes())
    drawn = random.Random(2).sample(sorted(rows, key=lambda row: row["id"]), 50)
    assert [mark.id for mark in audit.marks] == [row["id"] for row in drawn]
    assert audit.blind and all(mark.answers.keys() == QUESTIONS.keys() for mark in audit.marks)
    right, count = Counter(), Counter()
    for mark, row in zip(audit.marks, drawn, strict=True):
        for group in ("all", row["form"], "relevant" if row["label"] else "not relevant"):
            right[group] += mark.answers["label"]
            count[group] += 1
        assert mark.answers["label"] or row["id"] in CARD
    assert f"It agreed with {right.pop('all')} labels ({audit.agreement()['label'][0] / 50:.0%};" in CARD
    assert all(f"| {group} | {yes} of {count[group]} |" in CARD for group, yes in right.items())


def test_it_can_be_trained_on():
    groups = read_groups(PAIRS)
    assert all({candidate.label for candidate in group.candidates} == {True, False} for group in groups)
    for group in groups:
        check_license(group.license, group.qid)


@pytest.mark.parametrize(("name", "rows"), {"pairs": 1097, "alpaca": 1097, "listwise": 297, "setwise": 297}.items())
def test_hugging_faces_datasets_opens_it(name, rows, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: it comes with limrank-ir[mteb]")
    opened = datasets.load_dataset(str(MINI / "dataset"), name, split="train", cache_dir=str(tmp_path))
    assert len(opened) == rows


def test_no_benchmark_query_is_in_it(rows):
    if not SHARED.is_dir():
        pytest.skip("the queries of the benchmarks are not next to this repository")
    files = [SHARED / "data" / "bright-queries" / "queries.jsonl.gz"]
    files += sorted((SHARED / "data").glob("*/topics.jsonl.gz"))
    assert len(files) > 20
    theirs, queries = read_benchmarks(files), {row["query"] for row in rows}
    benchmarks = Benchmarks(theirs)
    found = {query: benchmarks.find(query) for query in queries if benchmarks.find(query) is not None}
    print(f"{len(found)} of {len(queries)} queries contain one of the {len(theirs):,} queries of {len(files)} files")
    assert len(queries) == 297 and not found


def test_no_text_of_ms_marco_or_persona_hub_is_in_it(rows):
    if not SHARED.is_dir():
        pytest.skip("MS MARCO's queries and PersonaHub's personas are not next to this repository")
    theirs = set()
    for path in (*(SHARED / "data" / "msmarco-queries").glob("*.gz"), *(SHARED / "data" / "personas").glob("*.gz")):
        for _, line in sniff(path)[1]:
            theirs |= {gram for text in json.loads(line).values() if isinstance(text, str) for gram in ngrams(text, 8)}
    assert len(theirs) > 10_000
    for row in rows:
        for text in (row["seed"], row["persona"], row["query"], row["passage"]):
            assert not theirs & set(ngrams(str(text), 8)), text
