"""``limrank bench think``: never, auto, and always on tiny collections."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.benchmarks.suite.collection import read_collections
from limrank_ir.benchmarks.suite.first_stage import first_stage
from limrank_ir.benchmarks.think import measure as think
from limrank_ir.formats.trec import write_run
from limrank_ir.models import ModelOptions
from limrank_ir.ranking.evaluate import evaluate, parse_measures
from limrank_ir.verdict import Reading
from tests.command_line import limrank as command
from tests.suite_collections import DOCS, write_collection

WORDS = {"copy": "copies", "cake": "cake", "disk": "forces", "warm-up": "warm-up"}


class Opinions:
    """Without a thought, long passages are best; with one, the passage with the query's own word."""

    identity = "opinions"

    def __init__(self):
        self.calls = 0

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        for index, prompt in enumerate(prompts):
            if index not in done:
                self.calls += 1
                word = next(word for query, word in WORDS.items() if query in prompt.prefix)
                good = word in prompt.passage
                score = (9.0 if good else -9.0) if think else len(prompt.passage) / 100
                yield [(index, Reading((score, 0.0), "hm" if think else None, 100, 50 * think, "verdict"))]


@pytest.fixture
def collection(tmp_path):
    run = "".join(f"q{query} Q0 d{doc} {doc} {9 - doc} x\n" for query in (1, 2, 3) for doc in range(1, 7))
    return write_collection(tmp_path / "plain", run_bm25=run)


def points(collection, output, engine, margins=(0.5, 100.0)):
    options = ModelOptions(engine=engine)
    found = think.measure_think("limrank-smol", [collection], output, options, margins=margins, k=10)
    return {point.margin: point for point in found}


def test_modes_differ_in_quality_and_in_cost(collection, tmp_path):
    engine = Opinions()
    found = points(collection, tmp_path / "out", engine)
    assert list(found) == [0.0, 0.5, 100.0, math.inf]
    never, some, many, always = found.values()
    assert never.thoughts == 0 and never.tokens == 100 * never.pairs
    assert always.thoughts == always.pairs and always.tokens == 150 * always.pairs
    assert 0 < some.thoughts < many.thoughts == many.pairs and some.tokens == never.tokens + 150 * some.thoughts
    assert never.ndcg < always.ndcg == 1.0  # everything relevant is first
    assert engine.calls == 2 * never.pairs + 2  # and two warm-ups, which are not kept


def test_auto_is_what_the_reranker_does(collection, tmp_path):
    point = points(collection, tmp_path / "out", Opinions(), margins=(0.7,))[0.7]
    (found,) = read_collections([collection])
    stage = first_stage(found, 10)
    passages = {docno: DOCS[docno] for documents in stage.values() for docno, _ in documents}
    pairs = [
        (found.topics[qid].query, passages[docno], found.topics[qid].instruction)
        for qid, documents in stage.items()
        for docno, _ in documents
    ]
    limrank = LimRank(engine=Opinions(), think="auto", think_margin=0.7)
    verdicts = iter(limrank.judge(pairs))
    assert (len(pairs), limrank.stats.thoughts, limrank.stats.tokens) == (point.pairs, point.thoughts, point.tokens)
    ranking = {qid: [(docno, next(verdicts).log_odds) for docno, _ in documents] for qid, documents in stage.items()}
    write_run(tmp_path / "auto.run", ranking, tag="auto")
    measure = parse_measures("nDCG@10")
    (evaluation,) = evaluate(collection / "qrels.txt", [tmp_path / "auto.run"], measure)
    assert evaluation.mean["nDCG@10"] == pytest.approx(point.ndcg)


def test_a_second_call_judges_nothing_again(collection, tmp_path):
    first = points(collection, tmp_path / "out", Opinions())
    engine = Opinions()
    again = points(collection, tmp_path / "out", engine)
    assert engine.calls == 2 and [p.ndcg for p in again.values()] == [p.ndcg for p in first.values()]
    assert all(p.seconds > 0 for p in first.values()) and {p.seconds for p in again.values()} == {None}


def test_the_files_say_what_was_measured_and_how(collection, tmp_path):
    points(collection, tmp_path / "out", Opinions())
    saved = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [point["mode"] for point in saved["points"]] == ["never", "auto, 0.5", "auto, 100", "always"]
    assert saved["settings"]["budget"] == 8192 and saved["environment"]["torch"]
    text = (tmp_path / "out" / "results.md").read_text()
    assert "| never | " in text and "| always | 1.000 | 100% |" in text and "- torch: " in text


def test_the_command_with_the_real_model(collection, tmp_path):
    done = command("bench", "think", collection, "-o", tmp_path / "out", "-k", 3, "--budget", 4, "--margin", 0.2)
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header == ["think", "nDCG@10", "thoughts", "tokens", "seconds"]
    assert [row[0] for row in rows] == ["never", "auto, 0.2", "always"] and rows[2][2] == "100%"


def test_a_model_that_cannot_think(collection, tmp_path):
    with pytest.raises(InputError, match="has no thinking mode"):
        think.measure_think("qwen3-reranker-4b", [collection], tmp_path / "out", ModelOptions())


def test_the_committed_report_is_what_the_command_writes_today():
    folder = Path(__file__).parents[1] / "benchmarks" / "results" / "think-modes"
    saved = json.loads((folder / "results.json").read_text())
    points = [
        think.ThinkPoint(**{**point, "margin": math.inf if point["margin"] is None else point["margin"]})
        for point in ({k: v for k, v in each.items() if k != "mode"} for each in saved["points"])
    ]
    text = think.markdown(points, saved["settings"], saved["environment"])
    assert text == (folder / "results.md").read_text()
    docs = (Path(__file__).parents[1] / "docs" / "thinking.md").read_text()
    for mode, ndcg, thoughts, tokens, seconds in think.table(points)[1]:
        assert f"| {mode} | {ndcg} | {thoughts} | {tokens} | {seconds} |" in docs
