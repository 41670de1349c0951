"""Rows as whole rankings: what a model learns is what rankers ask."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.errors import LimRankError
from limrank_ir.rankers.asking import Read
from limrank_ir.rankers.ways import Ways
from limrank_ir.train.config import Data, DataSource, TrainConfig
from limrank_ir.train.encode import ranking_sequences
from limrank_ir.train.rankings import read_rankings
from limrank_ir.train.rendering import FORMATS, render
from limrank_ir.train.teacher import scores
from tests.training import write_config, write_rows

PASSAGES = ["All birds have feathers [1].", "A whale sings.", "Rates rose.", "Feathers are light."]


@pytest.fixture
def config(tmp_path) -> TrainConfig:
    rows = [
        {"qid": f"q{number}", "query": f"Do {bird} fly?", "pos": PASSAGES[:1], "neg": PASSAGES[1:], "license": "MIT"}
        for number, bird in enumerate(("owls", "emus", "hens", "kiwis", "gulls"))
    ]
    rows.append({"qid": "alone", "query": "Nothing else?", "pos": ["Nothing."], "neg": [], "license": "MIT"})
    path = write_rows(tmp_path / "birds" / "train.jsonl", rows)
    path.with_name("README.md").write_text("- license: MIT\n", encoding="utf-8")
    return TrainConfig(
        model="limrank-smol-untrained",
        output=tmp_path / "run",
        objectives={"contrastive": 1.0},
        data=Data(folder=tmp_path, sources=(DataSource(path=path),)),
    )


def read(folder: Path, layout: str):
    data = Data(sources=(DataSource(path=folder / "birds" / "train.jsonl.gz"),), layout=layout)
    return read_rankings(data, 1)[0]


@pytest.mark.parametrize("layout", FORMATS)
def test_the_relevant_passage_is_first_wherever_it_is_shown(config, tmp_path, layout):
    assert render(config, layout, tmp_path / "out") == {"birds": 5}  # one has a single passage
    examples = read(tmp_path / "out", layout)
    places = set()
    for example in examples:
        first = example.response[: example.response.index("]") + 1]
        places.add(first)
        assert f"{first} All birds have feathers (1).\n" in example.prompt
        assert example.response.count(">") == (3 if layout == "listwise" else 0) and example.response.endswith("]\n")
    assert len(examples) == 5 and len(places) > 1
    assert (tmp_path / "out" / "birds" / "README.md").is_file()


def test_the_teachers_order_the_others(config, tmp_path, monkeypatch):
    odds = dict(zip(PASSAGES, (0.0, 1.0, 3.0, 2.0), strict=True))
    monkeypatch.setattr(
        scores,
        "load_scorer",
        lambda name: lambda groups: [[odds.get(c.text, 0.0) for c in g.candidates] for g in groups],
    )
    taught = config.model_copy(update={"data": config.data.model_copy(update={"teacher": {"minilm": 1.0}})})
    render(taught, "listwise", tmp_path / "out")
    for example in read(tmp_path / "out", "listwise"):
        lines = [line for line in example.prompt.splitlines() if line.startswith("[")]
        shown = {line[:3]: line[4:] for line in lines}
        ranked = [shown[name] for name in example.response.strip().split(" > ")]
        assert ranked == ["All birds have feathers (1).", "Rates rose.", "Feathers are light.", "A whale sings."]


@pytest.mark.parametrize("layout", FORMATS)
def test_a_ranker_s_prompt_has_the_ids_that_are_learned(config, tmp_path, limrank, layout):
    render(config, layout, tmp_path / "out")
    tokenizer = limrank.engine._loaded.tokenizer
    ways = Ways(limrank, [FORMATS[layout].name])
    way = ways.way("best" if layout == "setwise" else "order", 4, writes=False)
    for sequence, example in zip(
        ranking_sequences(examples := read(tmp_path / "out", layout), tokenizer, 2000), examples, strict=True
    ):
        lines = [line for line in example.prompt.splitlines() if line.startswith("[")]
        query = example.prompt.split("Query: ")[1].splitlines()[0]
        prompt = way.prompt(Read("any", query, tuple(line[4:] for line in lines)))
        (asked,) = tokenizer.encode([prompt], 2000)
        assert sequence.ids[: len(asked.ids)].tolist() == asked.ids.tolist()
        label = example.response[1]
        assert tokenizer.decode([int(sequence.ids[len(asked.ids)])]) == label


def test_the_command_and_what_it_refuses(config, tmp_path):
    path = write_config(
        tmp_path / "run.yaml", "limrank-smol-untrained", data={"sources": [{"path": "birds/train.jsonl"}]}
    )
    arguments = ["render", str(path), "--layout", "setwise", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and "birds\t5" in done.stdout, done.output
    with pytest.raises(LimRankError, match=r"data\.layout is rows; rows are rendered from pointwise"):
        render(config.model_copy(update={"data": config.data.model_copy(update={"layout": "rows"})}), "setwise", path)


def test_intent_is_learned_of_each_passage_and_each_query(config, tmp_path, limrank):
    (source,) = config.data.sources
    for intent, need, positive in (("direct", "[0]", "[2]"), ("background", "[1]", "[1]")):
        sources = (source.model_copy(update={"intent": intent}),)
        known = config.model_copy(update={"data": config.data.model_copy(update={"sources": sources})})
        assert render(known, "intent", tmp_path / intent) == {"birds": 5 * 5}
        found = Counter(
            (example.prompt.split("\n")[0][:12], example.response) for example in read(tmp_path / intent, "answers")
        )
        assert found == {
            ("What does th", need): 5,
            ("How does the", positive): 5,
            ("How does the", "[0]"): 15,
        }
    assert render(config, "intent", tmp_path / "none") == {}  # nothing is known of the source
    example = next(
        each for each in read(tmp_path / "direct", "answers") if "owls" in each.prompt and "whale" in each.prompt
    )
    prompt = Ways(limrank).way("help", 1, writes=False).prompt(Read("help", "Do owls fly?", ("A whale sings.",)))
    assert prompt.text == example.prompt + "["
