"""`limrank rerank`: files in, files out, and what it reports."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from limrank_ir import LimRank, fuse
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.trec import read_run, trec_order
from limrank_ir.models import MODELS
from limrank_ir.retrieval.similarity import DenseScorer

from .command_line import (
    CORPUS,
    RUN,
    TOPICS,
    limrank,
    one_thread,
    refused,
    rerank,
    write_broken_model,
    write_files,
)


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


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with all verdicts for `FILES`, made by the command with the real model."""
    folder = tmp_path_factory.mktemp("store")
    write_files(folder)
    paths = [str(folder / name) for name in ("run.txt", "topics.tsv", "corpus.jsonl")]
    made = folder / "verdicts.db"
    result = limrank(
        *("rerank", "--run", paths[0], "--topics", paths[1], "--corpus", paths[2]),
        *("-o", folder / "out.txt", "--store", made),
    )
    assert result.exit_code == 0, result.stderr
    assert "5 judged, 0 from the store" in result.stderr
    return made


def test_rerank_ranks_by_the_models_log_odds(folder, store):
    result = rerank("--store", store)
    assert result.exit_code == 0
    assert result.stdout == ""
    texts = {record["docno"]: record for record in map(json.loads, CORPUS.splitlines())}
    pairs = [("how do I copy a file?", texts[docno]["text"], None) for docno in ("d6", "d1", "d2")] + [
        ("capital of France", f"Paris {texts['d3']['text']}", "cities count, countries do not"),
        ("capital of France", texts["d5"]["text"], "cities count, countries do not"),
    ]
    odds = [verdict.log_odds for verdict in LimRank(store=store).judge(pairs)]
    expected = {
        "q1": trec_order(zip(("d6", "d1", "d2"), odds[:3], strict=True)),
        "q2": trec_order(zip(("d3", "d5"), odds[3:], strict=True)),
    }
    run = read_run("out.txt")
    assert {qid: [(entry.docno, entry.score) for entry in entries] for qid, entries in run.items()} == expected
    assert {(entry.tag, entry.rank) for entries in run.values() for entry in entries} == {
        ("limrank", rank) for rank in (1, 2, 3)
    }


def test_k_keeps_the_best_documents_by_score_not_by_line(folder, store):
    assert rerank("--store", store, "-k", 1).exit_code == 0
    assert {qid: [entry.docno for entry in entries] for qid, entries in read_run("out.txt").items()} == {
        "q1": ["d6"],
        "q2": ["d3"],  # the second line, the higher score
    }


@pytest.mark.parametrize("lines", ["q1 d6\nq2 N/A\n", "q1 0 d6 1\nq9 0 d1 -100\n", "q1\td6\n"])
def test_exclude_takes_documents_out_before_the_cutoff(folder, store, lines):
    (folder / "excluded.txt").write_text(lines)
    result = rerank("--store", store, "-k", 1, "--exclude", "excluded.txt")
    assert result.exit_code == 0
    assert "1 documents excluded from the run (excluded.txt)" in result.stderr
    assert {qid: [entry.docno for entry in entries] for qid, entries in read_run("out.txt").items()} == {
        "q1": ["d1"],
        "q2": ["d3"],
    }


def test_a_query_whose_documents_are_all_excluded_is_left_out_and_named(folder, store):
    (folder / "excluded.txt").write_text("q2 d3\nq2 d5\n")
    result = rerank("--store", store, "--exclude", "excluded.txt")
    assert "1 queries have no documents left ('q2')" in result.stderr
    assert list(read_run("out.txt")) == ["q1"]


def test_explain_writes_a_record_for_each_document_in_the_order_of_the_run(folder, store):
    assert rerank("--store", store, "--explain", "why.jsonl.gz").exit_code == 0
    with gzip.open("why.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    entries = [entry for entries in read_run("out.txt").values() for entry in entries]
    assert [(r["qid"], r["docno"], r["rank"], r["log_odds"]) for r in records] == [
        (entry.qid, entry.docno, entry.rank, entry.score) for entry in entries
    ]
    for record in records:
        assert record["probability"] == pytest.approx(1 / (1 + 2.718281828459045 ** -record["log_odds"]))
        assert (record["reasoning"], record["finish"], record["tokens"]["reasoning"]) == (None, "verdict", 0)
        assert record["tokens"]["prompt"] > 30


def test_windows_read_long_documents_to_their_end(folder):
    filler = "Forty minutes of baking make a cake, and the oven stays hot. " * 12
    long = {"docno": "d1", "title": "shutil", "text": f"{filler}shutil.copy(src, dst) copies the file src to dst."}
    lines = [json.dumps(long), *CORPUS.splitlines()[1:]]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    options = ("--window", 40, "--stride", 20, "--explain", "why.jsonl", "--store", "v.db", "--json")
    first = rerank(*options)
    assert first.exit_code == 0, first.stderr
    records = [json.loads(line) for line in (folder / "why.jsonl").read_text().splitlines()]
    best = next(record for record in records if record["docno"] == "d1")
    words = len(long["text"].split())
    assert best["window"] == -(-(words - 40) // 20)  # the last one, where the answer is
    done = json.loads(first.stdout)
    assert done["pairs"] == best["window"] + 1 + 4 and f"5 documents in {done['pairs']} windows of" in first.stderr
    assert json.loads(rerank(*options).stdout)["judged"] == 0


@pytest.mark.parametrize("options", [["--stride", 5], ["--window", 5, "--stride", 6]])
def test_impossible_windows_are_refused_before_anything_is_read(folder, options):
    result = rerank("--run", "nothing.txt", *options)
    assert result.exit_code == 2 and ("--stride" in result.stderr or "words would be left out" in result.stderr)


@pytest.mark.parametrize(
    ("options", "weight"),
    [(["--fuse"], 0.7), (["--fuse-weight", 0.8], 0.8), (["--fuse", "--fuse-weight", 0], 0.0)],
)
def test_fuse_combines_the_runs_scores_with_the_log_odds_and_explains_both(folder, store, options, weight):
    result = rerank("--store", store, "-k", 2, "--explain", "why.jsonl", "--json", *options)
    assert result.exit_code == 0
    assert f"reranked by limrank-smol, fused (run.txt {1 - weight:.3g}, limrank {weight:g}), in" in result.stderr
    summary = json.loads(result.stdout)
    assert summary["fuse"] == pytest.approx({"run.txt": 1 - weight, "limrank": weight})
    assert summary["judged"] + summary["stored"] == 4
    records = [json.loads(line) for line in (folder / "why.jsonl").read_text().splitlines()]
    first = {(entry.qid, entry.docno): entry.score for entries in read_run("run.txt").values() for entry in entries}
    run = read_run("out.txt")
    for qid, entries in run.items():
        mine = [record for record in records if record["qid"] == qid]
        columns = {"run": [first[qid, r["docno"]] for r in mine], "limrank": [r["log_odds"] for r in mine]}
        fused = fuse(columns, {"run": 1 - weight, "limrank": weight})
        assert [r["score"] for r in mine] == pytest.approx(fused.tolist())
        assert [r["first_stage"] for r in mine] == [first[qid, r["docno"]] for r in mine]
        assert [(r["docno"], r["score"], r["rank"]) for r in mine] == [(e.docno, e.score, e.rank) for e in entries]
    assert {qid: {entry.docno for entry in entries} for qid, entries in run.items()} == {
        "q1": {"d6", "d1"},  # d2 is beyond -k
        "q2": {"d3", "d5"},
    }
    if weight == 0:
        assert {qid: entries[0].docno for qid, entries in run.items()} == {"q1": "d6", "q2": "d3"}


def test_other_runs_and_minilm_are_fused_explained_and_named(folder, store):
    pytest.importorskip("sentence_transformers")
    (folder / "other.txt").write_text(
        "q1 Q0 d2 1 7 x\nq1 Q0 d1 2 6 x\nq1 Q0 d9 3 5 x\nq2 Q0 d3 1 2 x\nq2 Q0 d5 2 1 x\n"
    )
    options = ("--fuse-with", "other.txt", "--fuse-with", "minilm", "--fuse-weights", "1,2,3,4")
    result = rerank("--store", store, "--explain", "why.jsonl", "--json", *options)
    assert result.exit_code == 0, result.stderr
    weights = {"run.txt": 0.1, "other.txt": 0.2, "minilm": 0.3, "limrank": 0.4}
    assert json.loads(result.stdout)["fuse"] == pytest.approx(weights)
    assert "fused (run.txt 0.1, other.txt 0.2, minilm 0.3, limrank 0.4)" in result.stderr
    assert "note: other.txt: lacks 1 of 5 documents, which count as its lowest of the query" in result.stderr
    records = [json.loads(line) for line in (folder / "why.jsonl").read_text().splitlines()]
    texts = {record["docno"]: Passage(**record).reader_text for record in map(json.loads, CORPUS.splitlines())}
    pairs = [("how do I copy a file?" if r["qid"] == "q1" else "capital of France", texts[r["docno"]]) for r in records]
    cosines = [r["fused_with"]["minilm"] for r in records]
    assert cosines == pytest.approx(DenseScorer().predict(pairs).tolist(), abs=1e-5)
    for qid, entries in read_run("out.txt").items():
        mine = [record for record in records if record["qid"] == qid]
        other = [record["fused_with"]["other.txt"] for record in mine]
        assert (None in other) == (qid == "q1")  # d6
        columns = {
            "run.txt": [record["first_stage"] for record in mine],
            "other.txt": [5.0 if score is None else score for score in other],
            "minilm": [record["fused_with"]["minilm"] for record in mine],
            "limrank": [record["log_odds"] for record in mine],
        }
        assert [entry.score for entry in entries] == pytest.approx(fuse(columns, weights).tolist())


def test_three_are_fused_by_the_models_own_weights(folder, store):
    (folder / "other.txt").write_text(RUN)
    summary = json.loads(rerank("--store", store, "--fuse-with", "other.txt", "--json").stdout)
    names = ("run.txt", "other.txt", "limrank")
    assert summary["fuse"] == pytest.approx(dict(zip(names, MODELS["limrank-smol"].fuse_three, strict=True)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fuse-with", "run.txt"], "--fuse-with run.txt: given twice"),
        (["--fuse-with", "nothing.txt"], "nothing.txt: no such file"),
        (["--fuse-with", "dense:no/where"], "the encoder no/where: cannot be loaded"),
        (["--fuse-with", "elsewhere.txt"], "elsewhere.txt: none of its queries ('q7')"),
        (["--fuse-weights", "1,2,3"], "--fuse-weights 1,2,3: 3 weights for 2 scores; give those of run.txt, model"),
        (["--fuse-weights", "1,1", "--fuse-weight", 0.5], "--fuse-weight and --fuse-weights: give one of them"),
    ],
)
def test_what_cannot_be_fused_is_refused_before_anything_is_judged(folder, options, message):
    (folder / "elsewhere.txt").write_text("q7 Q0 d1 1 1 x\n")
    refused(rerank(*write_broken_model(folder), *options), message)


def test_without_fuse_the_runs_scores_have_no_effect(folder, store):
    rerank("--store", store)
    before = (folder / "out.txt").read_text()
    (folder / "run.txt").write_text(RUN.replace(" 3.5 ", " 9000.5 "))
    assert json.loads(rerank("--store", store, "--json").stdout)["fuse"] is None
    assert (folder / "out.txt").read_text() == before


def test_dash_writes_the_run_to_stdout_and_nothing_else(folder, store):
    rerank("--store", store)
    result = rerank("--store", store, "-o", "-")
    assert result.exit_code == 0
    assert result.stdout == (folder / "out.txt").read_text()
    assert "written to stdout" in result.stderr


def test_json_prints_a_summary(folder, store):
    result = rerank("--store", store, "--json", "--quiet")
    assert result.stderr == ""
    summary = json.loads(result.stdout)
    counts = [summary[name] for name in ("queries", "pairs", "stored", "judged")]
    assert (summary["run"], counts) == ("out.txt", [2, 5, 5, 0])
    assert not [name for name in summary if name.startswith("_")]


def test_topics_without_documents_are_counted_in_a_note_that_quiet_silences(folder, store):
    (folder / "topics.tsv").write_text(TOPICS + "q3\tlonely\n")
    noisy = rerank("--store", store)
    assert "note: 1 of 3 topics have no documents in run.txt and are left out\n" in noisy.stderr
    silent = rerank("--store", store, "--quiet")
    assert (silent.exit_code, silent.stdout, silent.stderr) == (0, "", "")


def test_cut_passages_are_reported(folder):
    (folder / "run.txt").write_text("q2 Q0 d3 1 1 x\n")
    (folder / "topics.tsv").write_text("q2\tcapital of France\n")
    result = rerank("--max-length", 50)
    assert result.exit_code == 0
    assert re.search(r"note: 1 of 1 passages were cut to fit \(\d+ tokens in all\)\n", result.stderr)


def test_from_a_corpus_to_evaluation(folder, store):
    found = limrank("retrieve", "--corpus", "corpus.jsonl", "--topics", "topics.tsv", "-o", "bm25.txt")
    assert (found.exit_code, found.stdout) == (0, "")
    run = read_run("bm25.txt")
    assert {qid: sorted(entry.docno for entry in entries) for qid, entries in run.items()} == {
        "q1": ["d1", "d2", "d6"],
        "q2": ["d3", "d5"],
    }
    assert run["q1"][0].docno == "d1"
    reranked = rerank("--run", "bm25.txt", "--store", store)
    assert "(0 judged, 5 from the store)" in reranked.stderr
    result = limrank("eval", "--qrels", "qrels.txt", "bm25.txt", "out.txt", "--measures", "RR R@100")
    assert result.exit_code == 0
    header, first, second = [line.split("\t") for line in result.stdout.splitlines()]
    assert (header, first) == (["run", "RR", "R@100"], ["bm25.txt", "1.0000", "1.0000"])
    place = [entry.docno for entry in read_run("out.txt")["q1"]].index("d1") + 1
    other = [entry.docno for entry in read_run("out.txt")["q2"]].index("d3") + 1
    assert second == ["out.txt", f"{(1 / place + 1 / other) / 2:.4f}", "1.0000"]
