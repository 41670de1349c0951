"""limrank-synth-mini, the committed data set: what is in it, and that its answers reproduce it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.formats.files import sniff
from limrank_ir.synth.filters.decontaminate import read_benchmarks, uncontaminated
from limrank_ir.synth.records import WrittenQuery
from limrank_ir.synth.words import ngrams
from limrank_ir.train.mixture import check_license
from limrank_ir.train.rows import read_groups
from tests.conftest import SHARED

MINI = Path(__file__).parents[1] / "data" / "limrank-synth-mini"
NEXT = MINI.with_name("limrank-synth-mini-2")  # of the present prompts; its answers come in rounds
PAIRS = MINI / "dataset" / "pairs.jsonl"


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in PAIRS.read_text().splitlines()]


@pytest.mark.skipif(not (NEXT / "answers.jsonl.gz").exists(), reason=f"{NEXT.name} is not answered yet")
def test_its_answers_reproduce_it_byte_for_byte(tmp_path):
    for path in NEXT.iterdir():
        if path.suffix in (".tsv", ".jsonl", ".yaml", ".gz"):
            shutil.copy(path, tmp_path)
    shutil.copytree(NEXT / "prompts", tmp_path / "prompts")
    # the title of its card is the name of the folder
    home = tmp_path / NEXT.name
    result = CliRunner().invoke(
        app, ["synth", "replay", str(tmp_path / "synth.yaml"), str(tmp_path / "answers.jsonl.gz"), "-o", str(home)]
    )
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in (home / "dataset").iterdir()} == {
        path.name: path.read_bytes() for path in (NEXT / "dataset").iterdir()
    }


def test_missing_answers_are_named(tmp_path):
    answers = tmp_path / "answers.jsonl"
    line = {"custom_id": "0" * 32, "response": {"status_code": 200, "body": {"choices": []}}}
    answers.write_text(json.dumps(line) + "\n")
    result = CliRunner().invoke(app, ["synth", "replay", str(NEXT / "synth.yaml"), str(answers), "-o", str(tmp_path)])
    assert result.exit_code == 2 and "150 answers for the queries are in none of these files" in result.stderr


def test_what_is_in_it(rows):
    queries = {row["qid"]: row for row in rows}
    assert len(rows) >= 800 and len(queries) >= 200
    assert len({row["domain"] for row in rows}) >= 15
    kinds = Counter(row["kind"] for row in queries.values())
    assert set(kinds) == {"daily", "expert"} and min(kinds.values()) > 100
    assert {row["label"] for row in rows} == {True, False}
    assert all([judgment["label"] for judgment in row["judgments"]] == [row["label"]] * 2 for row in rows)
    assert len({row["passage"] for row in rows}) == len(rows)


def test_it_can_be_trained_on():
    groups = read_groups(PAIRS)
    assert all({candidate.label for candidate in group.candidates} == {True, False} for group in groups)
    for group in groups:
        check_license(group.license, group.qid)


@pytest.mark.parametrize(("name", "rows"), {"pairs": 891, "alpaca": 891, "listwise": 232, "setwise": 232}.items())
def test_hugging_faces_datasets_opens_it(name, rows, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: it comes with limrank-ir[mteb]")
    opened = datasets.load_dataset(str(MINI / "dataset"), name, split="train", cache_dir=str(tmp_path))
    assert len(opened) == rows


def test_no_benchmark_query_is_in_it(rows):
    if not SHARED.is_dir():
        pytest.skip("the queries of the benchmarks are not next to this repository")
    files = [SHARED / "data" / "bright-queries" / "queries.jsonl.gz"]
    files += sorted((SHARED / "data").glob("[!t]*/topics.jsonl.gz"))
    assert len(files) > 15
    queries = [
        WrittenQuery.model_construct(id=row["qid"], text=row["query"])
        for row in {row["qid"]: row for row in rows}.values()
    ]
    assert len(queries) > 200
    assert not uncontaminated(queries, read_benchmarks(files)).dropped


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
