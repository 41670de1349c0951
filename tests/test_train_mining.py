"""Mining hard negatives, with the real BM25 and MiniLM, and with the real reranker through the command line."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.errors import EngineError, LimRankError
from limrank_ir.train import mining
from limrank_ir.train.config import Data, DataSource
from limrank_ir.train.mining import mine
from limrank_ir.train.rows import read_groups
from limrank_ir.train.vectors import passage_vectors
from tests.training import write_rows

CAT, DOG = "A cat is a small animal that purrs.", "A dog is an animal that barks."
COPY = "Small animals that purr are called cats."  # answers the first query, too, though no label says so
ROWS = [
    {"qid": "a", "query": "Which small animal purrs?", "pos": [CAT], "neg": ["Rates rose in spring."]},
    {"qid": "b", "query": "Which animal barks?", "pos": [DOG, CAT.upper()], "neg": ["A cake needs flour.", COPY]},
]


def data(folder: Path, rows=ROWS, **source) -> Data:
    path = write_rows(folder / "pets" / "train.jsonl", [{**row, "license": "MIT"} for row in rows])
    path.with_name("README.md").write_text("- source: our own\n", encoding="utf-8")
    return Data(folder=folder, sources=(DataSource(path=path, **source),))


@pytest.fixture
def opinions(monkeypatch):
    """Decide on the scores: (scorer, passage) to a score; 0 for others."""
    said: dict[tuple[str, str], float] = {}

    def known(names, groups, cache):
        return {
            name: [[said.get((name, each.text), 0.0) for each in group.candidates] for group in groups]
            for name in names
        }

    monkeypatch.setattr(mining, "save_scores", lambda names, groups, cache: None)
    monkeypatch.setattr(mining, "known_scores", known)
    return said


def negatives(mined) -> dict[str, list[str]]:
    groups = read_groups(mined.path)
    return {group.qid: [each.text for each in group.candidates if not each.label] for group in groups}


def test_what_is_found_among_all_passages_becomes_negatives_hardest_first(tmp_path, opinions):
    opinions |= {("limrank-smol", DOG): 2.0, ("limrank-smol", COPY): 1.0, ("limrank-smol", CAT): 1.5}
    opinions |= {("minilm", CAT): 1.0}
    (mined,) = mine(data(tmp_path), 1, "limrank-smol", tmp_path, tmp_path / "out", depth=10, keep=2)
    assert (mined.name, mined.queries, mined.passages, mined.without) == ("pets", 2, 6, 0)
    found = negatives(mined)
    assert found["a"] == [DOG, COPY]  # not "A CAT IS ...", which is the positive in other letters
    assert found["b"][:1] == [CAT] or found["b"][:1] == [COPY]
    assert DOG not in found["b"] and CAT.upper() not in found["b"]
    assert (mined.path.parent / "README.md").read_text(encoding="utf-8") == "- source: our own\n"
    group = next(group for group in read_groups(mined.path) if group.qid == "b")
    assert [each.text for each in group.candidates if each.label] == [DOG, CAT.upper()]
    assert group.license == "MIT"


def test_only_what_both_scorers_put_above_the_positive_is_left_out(tmp_path, opinions):
    opinions |= {("limrank-smol", CAT): 1.0, ("minilm", CAT): 1.0}
    opinions |= {("limrank-smol", COPY): 2.0, ("minilm", COPY): 2.0}  # both
    opinions |= {("limrank-smol", DOG): 2.0, ("minilm", DOG): 0.5}  # one of them
    (mined,) = mine(data(tmp_path), 1, "limrank-smol", tmp_path, tmp_path / "out", depth=10, keep=9)
    found = negatives(mined)
    assert COPY not in found["a"] and found["a"][0] == DOG
    assert mined.dropped >= 1 and mined.above >= 1 and mined.scored == mined.kept + mined.dropped


def test_a_query_for_which_none_is_left_keeps_its_own_and_is_counted(tmp_path, opinions):
    opinions |= {(name, text): 9.0 for name in ("limrank-smol", "minilm") for text in (DOG, "Rates rose in spring.")}
    rows = [dict(ROWS[0], neg=["Rates rose in spring."]), {"qid": "d", "query": "dog", "pos": [DOG], "neg": []}]
    (mined,) = mine(data(tmp_path, rows), 1, "limrank-smol", tmp_path, tmp_path / "out", depth=5, keep=5)
    assert mined.without == 1 and mined.kept == len(negatives(mined)["d"])
    assert negatives(mined)["a"] == ["Rates rose in spring."]


def test_texts_are_cut_as_the_source_says_and_its_held_out_queries_are_left_alone(tmp_path, opinions):
    rows = [dict(row, instruction="Find facts.") for row in ROWS]
    mixture = data(tmp_path, rows, query_words=2, passage_words=3, keep_instruction=0)
    (mined,) = mine(mixture, 1, "limrank-smol", tmp_path, tmp_path / "out", depth=5, keep=5)
    groups = read_groups(mined.path)
    assert {group.query for group in groups} == {"Which small", "Which animal"}
    assert all(len(each.text.split()) <= 3 for group in groups for each in group.candidates)
    assert all(group.instruction is None for group in groups)
    held = mixture.model_copy(update={"held_out": 1})
    (mined,) = mine(held, 1, "limrank-smol", tmp_path, tmp_path / "out", depth=5, keep=5)
    assert mined.queries == 1


def test_rows_that_no_teacher_may_judge_keep_their_negatives(tmp_path, monkeypatch):
    monkeypatch.setattr(mining, "save_scores", None)  # nothing is scored
    (mined,) = mine(data(tmp_path, teacher="none"), 1, "limrank-smol", tmp_path, tmp_path / "out", depth=5, keep=5)
    assert negatives(mined) == {"a": ROWS[0]["neg"], "b": ROWS[1]["neg"]} and mined.scored == 0


def test_what_another_row_labels_as_relevant_is_no_negative(tmp_path, opinions):
    again = {"qid": "c", "query": "WHICH small animal purrs?", "pos": [COPY], "neg": ["A cake needs flour."]}
    other = {**ROWS[1], "neg": ["A cake needs flour."]}
    (mined,) = mine(
        data(tmp_path, [ROWS[0], other, again]), 1, "limrank-smol", tmp_path, tmp_path / "out", depth=9, keep=9
    )
    found = negatives(mined)
    assert COPY not in found["a"]
    assert CAT not in found["c"]
    assert COPY in found["b"]


def test_the_folder_of_a_source_is_never_written(tmp_path, opinions):
    rows = data(tmp_path)
    before = rows.sources[0].path.read_bytes()
    with pytest.raises(LimRankError, match="pets: is read, and would be overwritten"):
        mine(rows, 1, "limrank-smol", tmp_path, tmp_path, depth=9, keep=9)
    assert rows.sources[0].path.read_bytes() == before


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("limrank-smoll", "--model limrank-smoll: is not known by name; choose one of limrank-smol,"),
        ("minilm", "--model minilm: is not known by name"),
        ("limrank-smol-untrained+nowhere", "nowhere"),
    ],
)
def test_what_is_no_reranker_is_refused_before_anything_is_retrieved(tmp_path, monkeypatch, model, what):
    monkeypatch.setattr(mining, "_mine", None)
    with pytest.raises(LimRankError, match=re.escape(what)):
        mine(data(tmp_path), 1, model, tmp_path, tmp_path / "mined", depth=9, keep=9)


def test_two_sources_of_one_name_are_an_error(tmp_path):
    one = data(tmp_path)
    two = one.model_copy(update={"sources": one.sources * 2})
    with pytest.raises(LimRankError, match="two sources are called 'pets'; rename"):
        mine(two, 1, "limrank-smol", tmp_path, tmp_path / "out", depth=5, keep=5)


def test_the_command_mines_with_the_real_model_and_a_second_run_scores_nothing(tmp_path, monkeypatch):
    data(tmp_path)
    config = tmp_path / "mine.yaml"
    settings = {
        "model": "limrank-smol-untrained",
        "output": "runs",
        "objectives": {"contrastive": 1.0},
        "data": {"sources": [{"path": "pets/train.jsonl"}]},
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    arguments = ["mine", str(config), "-o", str(tmp_path / "mined"), "--depth", "4", "--keep", "3"]
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.output
    assert "pets" in made.stdout and "above the positive" in made.stdout
    path = tmp_path / "mined" / "pets" / "train.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert {row["qid"] for row in rows} == {"a", "b"}
    assert all(1 <= len(row["neg"]) <= 3 and not set(row["pos"]) & set(row["neg"]) for row in rows)
    before = path.read_bytes()
    monkeypatch.setattr("limrank_ir.train.teacher.scores.load_scorer", None)  # all scores are saved
    monkeypatch.setattr("sentence_transformers.SentenceTransformer.encode_document", None)  # and all vectors
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert gzip.decompress(path.read_bytes()) == gzip.decompress(before)


class Lengths:
    """Encodes a text by its length, and counts."""

    calls = 0

    def encode_document(self, texts, **options):
        self.calls += len(texts)
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def test_vectors_are_made_once_for_the_same_passages_and_encoder(tmp_path):
    encoder, texts = Lengths(), ["a" * number for number in range(1, 700)]
    made = passage_vectors(encoder, "one", texts, tmp_path / "cache")
    assert made[:, 0].tolist() == list(range(1, 700))
    assert (passage_vectors(encoder, "one", texts, tmp_path / "cache") == made).all()
    assert encoder.calls == 699
    passage_vectors(encoder, "two", texts, tmp_path / "cache")
    passage_vectors(encoder, "one", texts[1:], tmp_path / "cache")
    assert encoder.calls == 699 + 699 + 698
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_damaged_vectors_are_an_error_that_names_the_file(tmp_path):
    passage_vectors(Lengths(), "one", ["a"], tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(EngineError, match=rf"{file.name}: cannot be read .* remove it"):
        passage_vectors(Lengths(), "one", ["a"], tmp_path)
