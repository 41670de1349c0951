"""`limrank rerank --ranker` and `limrank rankers`."""

from __future__ import annotations

import json

import pytest

from limrank_ir.formats.trec import read_run
from limrank_ir.rankers.named import RANKERS
from limrank_ir.verdict import Written
from tests.asked import Knows

from .command_line import limrank, one_thread, refused, rerank, write_broken_model, write_files


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder of the command, with good files in it."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def knows(monkeypatch):
    """The engine of all rerankers: passages end with the number that says how relevant they are."""
    engine = Knows()
    monkeypatch.setattr("limrank_ir.reranker.choose_engine", lambda *unused: engine)
    return engine


def numbered(folder, documents=7):
    lines = [json.dumps({"docno": f"d{place}", "text": f"p {place * 3 % documents}"}) for place in range(documents)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "topics.tsv").write_text("q1\tone\nq2\ttwo\n")
    found = [f"{qid} Q0 d{place} {place} {-place} x\n" for qid in ("q2", "q1") for place in range(documents)]
    (folder / "run.txt").write_text("".join(found))


@pytest.mark.parametrize("ranker", ["setwise:top=7", "listwise", "two-stages:second=icr", "icr", "adaptive", "graded"])
def test_the_run_has_the_orders_and_their_scores(folder, knows, ranker):
    numbered(folder, documents=5)
    result = rerank("--ranker", ranker)
    assert result.exit_code == 0, result.stderr
    run = read_run("out.txt")
    assert list(run) == ["q2", "q1"]
    for entries in run.values():
        assert [entry.docno for entry in entries] == ["d3", "d1", "d4", "d2", "d0"]
        scores = [entry.score for entry in entries]
        assert scores == sorted(set(scores), reverse=True)
    assert f"10 documents of 2 queries reranked by limrank-smol with {ranker} in" in result.stderr


def test_the_summary_counts_and_the_store_answers_the_second_time(folder, knows):
    numbered(folder)
    options = ("--ranker", "setwise:top=2,window=3", "--store", "v.db", "--json")
    first = json.loads(rerank(*options).stdout)
    assert first["ranker"] == "setwise:top=2,window=3" and first["asked"]["calls"] == len(knows.asked) > 0
    assert (first["queries"], first["failed"], first["repaired"]) == (2, 0, 0) and first["tokens"] > 0
    before = (folder / "out.txt").read_text()
    again = rerank(*options)
    second = json.loads(again.stdout)
    assert second["asked"]["calls"] == 0 and second["asked"]["stored"] == first["asked"]["calls"]
    assert (folder / "out.txt").read_text() == before
    assert f"({second['questions']} questions, {second['tokens']} tokens, 0 answers repaired, 0 failed; 0 asked" in (
        again.stderr
    )


def test_progress_counts_questions_and_queries(folder, knows, monkeypatch):
    numbered(folder)
    monkeypatch.setattr("limrank_ir.cli.console.REPORT_EVERY", 0.0)
    lines = [
        line for line in rerank("--ranker", "listwise:window=3,stride=2").stderr.splitlines() if " questions, " in line
    ]
    assert "limrank-smol: 2 of 6 questions, " in lines[0] and "0 of 2 queries" in lines[0]  # a batch is two
    assert any("6 of 6 questions" in line for line in lines)


def test_k_cuts_and_first_stage_scores_reach_the_ranker(folder, knows):
    numbered(folder)
    assert rerank("--ranker", "groupwise:share=0", "-k", 4).exit_code == 0
    assert [entry.docno for entry in read_run("out.txt")["q1"]] == ["d0", "d1", "d2", "d3"]  # the first stage's alone


@pytest.mark.parametrize("store", [None, "v.db"])
def test_after_an_interruption_the_error_says_what_is_kept(folder, knows, store):
    numbered(folder)
    knows.stops_after = 3  # it ends the batch of two
    result = rerank("--ranker", "setwise", *(["--store", store] if store else []))
    assert result.exit_code == 130 and not (folder / "out.txt").exists()
    kept = "the answers so far are in v.db; run the same command again" if store else "nothing was kept; use --store"
    assert "interrupted after 0 of 2 queries" in result.stderr and kept in result.stderr
    knows.stops_after = None
    if store:
        assert "4 from the store" in rerank("--ranker", "setwise", "--store", store).stderr


def test_answers_of_no_use_are_reported(folder, knows, monkeypatch):
    numbered(folder)
    monkeypatch.setattr(knows, "_text", lambda *unused: Written("I cannot rank these.", 9, 4, "stop"))
    result = rerank("--ranker", "listwise")
    assert "2 of 2 answers had nothing usable; what they were about kept its old order" in result.stderr
    assert "0 answers repaired, 2 failed" in result.stderr
    assert [entry.docno for entry in read_run("out.txt")["q1"]] == [f"d{place}" for place in range(7)]


OPTIONS = {
    "unknown": (("--ranker", "setwize"), "did you mean setwise?"),
    "format": (("--ranker", "setwise", "--set-format", "rank-r1"), "rank-r1 has no effect with setwise"),
    "format alone": (("--set-format", "setwise"), "--set-format has no effect without --ranker"),
    "auto": (("--ranker", "two-stages", "--think", "auto"), "think='auto' compares"),
    "fuse": (("--ranker", "setwise", "--fuse"), "--fuse does not go with --ranker; write the run, and"),
    "weight 0": (("--ranker", "setwise", "--fuse-weight", 0), "--fuse-weight does not go with --ranker"),
    "fuse with": (("--ranker", "setwise", "--fuse-with", "run.txt"), "--fuse-with does not go with --ranker"),
    "weights": (("--ranker", "setwise", "--fuse-weights", "1,1"), "--fuse-weights does not go with --ranker"),
    "explain": (("--ranker", "setwise", "--explain", "why"), "--explain does not go with --ranker"),
    "window": (("--ranker", "setwise", "--window", 9), "--ranker NAME:window=N"),
    "stride": (("--ranker", "first", "--stride", 9), "--stride does not go with --ranker"),
    "ray": (("--ranker", "setwise", "--ray", "local"), "--ray does not go with --ranker"),
}


@pytest.mark.parametrize(("options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_combinations_without_sense_are_refused_in_one_line(folder, options, message):
    refused(rerank(*write_broken_model(folder), *options), message)


def test_the_real_model_ranks(folder):
    result = rerank("--ranker", "setwise:top=1,window=3", "--set-format", "setwise-numbers", "--json")
    assert result.exit_code == 0, result.stderr
    done = json.loads(result.stdout)
    assert done["questions"] == 2 and done["failed"] == 0
    assert {qid: len(entries) for qid, entries in read_run("out.txt").items()} == {"q1": 3, "q2": 2}


def test_rankers_lists_all_of_them():
    lines = limrank("rankers").stdout.splitlines()
    assert lines[0].split("\t")[0] == "ranker"
    rows = {line.split("\t")[0]: line.split("\t") for line in lines[1:]}
    assert set(RANKERS) <= set(rows) and "rank-zephyr" in rows["listwise"][3] and rows["setwise"][-1] == "85"
    assert rows["first"][3].startswith("first (default), rank-zephyr")
    records = json.loads(limrank("rankers", "--json").stdout)
    assert {record["ranker"] for record in records} == set(rows)
