"""The command line as its users meet it: files in, files out, one line for every mistake."""

import gzip
import inspect
import io
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from limrank_ir import LimRank, __version__, fuse
from limrank_ir.cli import console
from limrank_ir.cli.app import app
from limrank_ir.formats.trec import read_run, trec_order
from limrank_ir.formats.words import duration
from limrank_ir.models import MODELS

TOPICS = "q1\thow do I copy a file?\nq2\tcapital of France\tcities count, countries do not\n"
CORPUS = """\
{"docno": "d1", "text": "shutil.copy(src, dst) copies the file src to the file or folder dst."}
{"docno": "d2", "text": "os.remove(path) removes a file."}
{"docno": "d3", "title": "Paris", "text": "Paris is the capital of France and its largest city."}
{"docno": "d4", "text": "Bake the cake for forty minutes."}
{"docno": "d5", "text": "Lyon is a city in France."}
{"docno": "d6", "text": "Copy editing is the correction of a text before it is printed."}
"""
RUN = """\
q1 Q0 d6 1 3.5 first
q1 Q0 d1 2 2.5 first
q1 Q0 d2 3 1.5 first
q2 Q0 d5 1 0.5 first
q2 Q0 d3 2 0.75 first
"""
QRELS = "q1 0 d1 1\nq2 0 d3 1\n"
EXCLUDED = "q1 d6\nq2 N/A\n"
FILES = {"topics.tsv": TOPICS, "corpus.jsonl": CORPUS, "run.txt": RUN, "qrels.txt": QRELS, "excluded.txt": EXCLUDED}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Runs in this process and in others add up in the same order, and do not wait for each other's threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder of the command, with good files in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store that knows every verdict of `FILES`, made by the command with the real model."""
    folder = tmp_path_factory.mktemp("store")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    paths = [str(folder / name) for name in ("run.txt", "topics.tsv", "corpus.jsonl")]
    made = folder / "verdicts.db"
    result = limrank(
        *("rerank", "--run", paths[0], "--topics", paths[1], "--corpus", paths[2]),
        *("-o", folder / "out.txt", "--store", made),
    )
    assert result.exit_code == 0, result.stderr
    assert "5 judged, 0 from the store" in result.stderr
    return made


def limrank(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def rerank(*arguments):
    return limrank(
        "rerank", "--run", "run.txt", "--topics", "topics.tsv", "--corpus", "corpus.jsonl", "-o", "out.txt", *arguments
    )


def process(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "60"}
    return subprocess.Popen(
        [sys.executable, "-m", "limrank_ir", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        env={**environment, **options.pop("env", {})},
        **options,
    )


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# rerank


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
    assert "1 documents taken out of the run (excluded.txt)" in result.stderr
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
def test_windows_that_cannot_be_are_told_before_anything_is_read(folder, options):
    result = rerank("--run", "nothing.txt", *options)
    assert result.exit_code == 2 and ("--stride" in result.stderr or "words would be left out" in result.stderr)


@pytest.mark.parametrize(
    ("options", "weight"),
    [(["--fuse"], 0.7), (["--fuse-weight", 0.8], 0.8), (["--fuse", "--fuse-weight", 0], 0.0)],
)
def test_fuse_weighs_the_runs_scores_with_the_log_odds_and_explains_both(folder, store, options, weight):
    result = rerank("--store", store, "-k", 2, "--explain", "why.jsonl", "--json", *options)
    assert result.exit_code == 0
    assert f"reranked by limrank-smol, fused with the run's scores (weight {weight:g}), in" in result.stderr
    told = json.loads(result.stdout)
    assert (told["fuse"], told["judged"] + told["stored"]) == (weight, 4)
    records = [json.loads(line) for line in (folder / "why.jsonl").read_text().splitlines()]
    first = {(entry.qid, entry.docno): entry.score for entries in read_run("run.txt").values() for entry in entries}
    run = read_run("out.txt")
    for qid, entries in run.items():
        mine = [record for record in records if record["qid"] == qid]
        fused = fuse([r["log_odds"] for r in mine], [first[qid, r["docno"]] for r in mine], weight)
        assert [r["score"] for r in mine] == pytest.approx(fused.tolist())
        assert [r["first_stage"] for r in mine] == [first[qid, r["docno"]] for r in mine]
        assert [(r["docno"], r["score"], r["rank"]) for r in mine] == [(e.docno, e.score, e.rank) for e in entries]
    assert {qid: {entry.docno for entry in entries} for qid, entries in run.items()} == {
        "q1": {"d6", "d1"},  # d2 is beyond -k
        "q2": {"d3", "d5"},
    }
    if weight == 0:
        assert {qid: entries[0].docno for qid, entries in run.items()} == {"q1": "d6", "q2": "d3"}


def test_without_fuse_the_runs_scores_do_not_count(folder, store):
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


def test_json_tells_what_happened(folder, store):
    result = rerank("--store", store, "--json", "--quiet")
    assert result.stderr == ""
    told = json.loads(result.stdout)
    assert (told["run"], told["queries"], told["pairs"], told["stored"], told["judged"]) == ("out.txt", 2, 5, 5, 0)


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


# mistakes in the input: before any model is touched


@pytest.fixture
def no_model(folder):
    """A model that cannot be loaded: whoever tries gets another error than the one that is expected."""
    (folder / "model").mkdir()
    return ("--model", "model", "--prompt-format", "rank1")


def refused(result, message):
    """The command said just this, in one line, and left nothing behind."""
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("limrank: ")
    assert message in lines[0]
    assert not Path("out.txt").exists()
    assert not [name for name in os.listdir() if name.endswith(".tmp")]


def test_the_model_that_cannot_be_loaded_is_an_error_of_its_own(folder, no_model):
    refused(rerank(*no_model), "model: no config.json, so it is no model's folder")


BAD_FILES = {
    "unknown topic": ("run.txt", "q1 Q0 d1 1 1 x\nq7 Q0 d1 1 1 x\n", "topics.tsv: 1 of 2 queries of run.txt"),
    "unknown docno": ("run.txt", "q1 Q0 d9 1 1 x\n", "corpus.jsonl: 1 of 1 passages are not in this corpus ('d9')"),
    "empty run": ("run.txt", "", "run.txt: empty run; check the first stage"),
    "duplicate docno": ("run.txt", "q1 Q0 d1 1 1 x\nq1 Q0 d1 2 0 x\n", "run.txt:2: document 'd1' again"),
    "NaN": ("run.txt", "q1 Q0 d1 1 nan x\n", "run.txt:1: score 'nan' is not finite"),
    "five columns": ("run.txt", RUN + "q1 Q0 d4 1 1\n", "run.txt:6: 5 columns, not 6"),
    "half a line of JSON": ("corpus.jsonl", CORPUS + '{"docno": "d7", "te', "corpus.jsonl:7: malformed JSON"),
    "passage without text": ("corpus.jsonl", CORPUS.replace("Lyon is a city in France.", " "), "corpus.jsonl:5:"),
    "query without text": ("topics.tsv", "q1\t \n", "topics.tsv:1: topic 'q1' has no query"),
    "excluded in six columns": ("excluded.txt", "q1 d1\n" + RUN, "excluded.txt:2: "),
    "all excluded": ("excluded.txt", "q1 d1\nq1 d2\nq1 d6\nq2 d3\nq2 d5\n", "excluded.txt: all documents of run.txt"),
    "not UTF-8": ("run.txt", b"q1 Q0 d1 1 1 x\nq1 Q0 d\xe9 1 1 x\n", "run.txt:2: not UTF-8 (byte 0xe9)"),
    "mark inside": ("run.txt", "q1 Q0 d1 1 1 x\nq1 Q0 \ufeffd2 1 1 x\n", "run.txt: docno '\\ufeffd2' is empty, or"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_input_is_refused_in_one_line(folder, no_model, name, content, message):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(rerank(*no_model, "--exclude", "excluded.txt"), message)


def test_gzip_cut_short_is_refused(folder, no_model):
    (folder / "run.txt.gz").write_bytes(gzip.compress(RUN.encode())[:-12])
    refused(rerank(*no_model, "--run", "run.txt.gz"), "run.txt.gz: gzip data broken or cut short")


def test_brackets_in_a_path_are_printed_as_they_are(folder, no_model):
    refused(rerank(*no_model, "--run", "[red]run[/].txt"), "[red]run[/].txt: no such file")


BAD_PLACES = {
    "no folder can be made": (["-o", "run.txt/out.txt"], "run.txt is a file, not a folder; choose another place"),
    "a folder": (["-o", "model"], "-o model: is a folder"),
    "the first stage": (["-o", "run.txt"], "-o run.txt: is the file of --run, too"),
    "one file twice": (["--explain", "./out.txt"], "--explain out.txt: is the file of -o, too"),
    "stdout twice": (["-o", "-", "--json"], "-o and --json both want stdout"),
    "a store that is none": (["--store", "qrels.txt"], "qrels.txt: is not a LimRank store"),
    "a tag of two words": (["--tag", "my run"], "--tag: tag 'my run' is empty, or holds whitespace"),
    "an unknown task": (["--task", "botany"], "unknown BRIGHT task 'botany'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_PLACES.values(), ids=BAD_PLACES)
def test_results_that_cannot_be_written_are_refused_before_the_work(folder, no_model, arguments, message):
    refused(rerank(*no_model, *arguments), message)
    assert (folder / "qrels.txt").read_text() == QRELS
    assert (folder / "run.txt").read_text() == RUN


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="/proc is the folder root cannot write")
def test_a_place_without_permission_is_refused(folder, no_model):
    refused(rerank(*no_model, "-o", "/proc/limrank/out.txt"), "-o /proc/limrank/out.txt: cannot write here")


def test_the_check_of_places_leaves_nothing_behind(folder, no_model):
    before = files(folder)
    rerank(*no_model, "-o", "new/folder/out.txt", "--explain", "new/why.jsonl", "--run", "nothing.txt")
    assert files(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["rerank", "--run", "run.txt"],
        ["rerank", "--k", "0"],
        ["rerank", "--fuse-weight", "1.5"],
        ["rerank", "--fuse-weight", "nan"],
        ["rerank", "--think", "perhaps"],
        ["frobnicate"],
        ["eval", "--qrels", "qrels.txt"],
        ["models", "--all"],
    ],
)
def test_wrong_usage_ends_with_status_2(folder, arguments):
    result = limrank(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage" in result.stderr


# Ctrl-C


def long_files(folder, documents=14):
    words = ("copy", "a", "file", "then", "bake", "cake", "in", "the", "capital", "of", "France")
    passages = [" ".join(words[(number + i) % len(words)] for i in range(40 + number)) for number in range(documents)]
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"docno": f"d{n}", "text": text}) + "\n" for n, text in enumerate(passages))
    )
    (folder / "run.txt").write_text("".join(f"q1 Q0 d{n} {n + 1} {-n} x\n" for n in range(documents)))


def verdicts_in(path):
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return database.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0]
    except sqlite3.Error:
        return 0


def interrupted(running, ready):
    """Send SIGINT when it is time to, and again while nobody hears it; returns what the process said."""
    deadline = time.monotonic() + 180  # a loaded machine takes its time to start
    while not ready():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline, "never got there"
        time.sleep(0.01)
    while running.poll() is None:
        assert time.monotonic() < deadline, "does not stop"
        running.send_signal(signal.SIGINT)
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:  # it came where Python cannot raise (a callback of an import)
            continue
    return running.communicate()


RERANK = ("rerank", "--run", "run.txt", "--topics", "topics.tsv", "--corpus", "corpus.jsonl", "--batch-size", 1)


def test_ctrl_c_keeps_verdicts_in_the_store_and_the_next_run_goes_on(folder):
    long_files(folder)
    running = process(*RERANK, "-o", "out.txt", "--store", "verdicts.db")
    _, said = interrupted(running, lambda: verdicts_in("verdicts.db") >= 2)
    assert running.returncode == 130
    kept = verdicts_in("verdicts.db")
    assert 2 <= kept < 14
    last = said.splitlines()[-1]
    assert re.fullmatch(
        r"limrank: interrupted after \d+ of 14 pairs; \d+ verdicts are in verdicts.db; "
        r"give the same command again to go on",
        last,
    ), said
    assert "Traceback" not in said
    assert not Path("out.txt").exists()

    again = limrank(*RERANK, "-o", "out.txt", "--store", "verdicts.db")
    assert f"({14 - kept} judged, {kept} from the store)" in again.stderr
    whole = limrank(*RERANK, "-o", "whole.txt")
    assert "(14 judged, 0 from the store)" in whole.stderr
    assert (folder / "out.txt").read_bytes() == (folder / "whole.txt").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc for the moment")
def test_ctrl_c_without_a_store_says_that_nothing_was_kept(folder):
    long_files(folder)
    running = process(*RERANK, "-o", "out.txt")
    # Nothing but the model needs torch: once it loads, the pairs are being judged.
    _, said = interrupted(running, lambda: "libtorch" in Path(f"/proc/{running.pid}/maps").read_text())
    assert running.returncode == 130
    assert re.search(
        r"^limrank: interrupted after \d+ of 14 pairs; nothing was kept; with --store FILE a second run would go on",
        said,
        re.MULTILINE,
    )
    assert not Path("out.txt").exists()


# retrieve, rerank, eval


def test_from_a_corpus_to_figures(folder, store):
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


# judge


def test_judge_tells_the_verdict_of_one_passage(folder):
    told = json.loads(limrank("judge", "capital of France", "Paris", "--json").stdout)
    (verdict,) = LimRank().judge([("capital of France", "Paris")])
    assert told["log_odds"] == verdict.log_odds
    assert told["verdict"] == ("true" if verdict.log_odds > 0 else "false")
    assert told["reasoning"] is None


def test_judge_reads_the_passage_from_stdin_and_shows_the_reasoning(folder):
    result = limrank("judge", "capital of France", "-", "--think", "always", "--budget", 8, stdin="Paris\n")
    (verdict,) = LimRank(think="always", budget=8).judge([("capital of France", "Paris\n")])
    assert result.exit_code == 0
    assert result.stdout.startswith(verdict.reasoning.strip())
    assert result.stdout.rstrip().endswith(f"log-odds {verdict.log_odds:+.4f})")
    assert (verdict.finish == "budget") == ("thoughts came to no verdict" in result.stderr)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["judge", "q", ""], None, "the passage is empty"),
        (["judge", "q", "-"], b"", "the passage is empty"),
        (["judge", "q", "-"], b"caf\xe9", "stdin: not UTF-8 (byte 0xe9)"),
        (["judge", " ", "text"], None, "the query is empty"),
    ],
)
def test_judge_refuses_what_is_no_text(folder, no_model, arguments, stdin, message):
    refused(limrank(*arguments, *no_model, stdin=stdin), message)


# the rest


def test_models_lists_all_of_them():
    rows = [line.split("\t") for line in limrank("models").stdout.splitlines()]
    assert [row[0] for row in rows[1:]] == list(MODELS)
    table = {row[0]: row for row in rows}
    assert table["limrank-7b"][1:] == ["songtingyu/limrank", "rank1", "always", "7.6B", "GPU 24 GB"]
    assert table["limrank-smol"][-1] == "CPU"
    records = json.loads(limrank("models", "--json").stdout)
    assert {record["name"]: record["fuse"] for record in records} == {name: m.fuse for name, m in MODELS.items()}


def test_the_demo_has_the_defaults_of_its_function():
    from limrank_ir.cli.app import demo
    from limrank_ir.demo.run import run_demo

    given, taken = inspect.signature(demo).parameters, inspect.signature(run_demo).parameters
    assert (given["k"].default, given["queries"].default) == (taken["k"].default, taken["count"].default)


def test_version():
    assert limrank("--version").stdout == f"limrank-ir {__version__}\n"


@pytest.mark.parametrize("command", ["rerank", "retrieve", "eval", "judge", "models", "demo"])
def test_every_command_has_a_help_with_an_example(command):
    result = limrank(command, "--help")
    assert result.exit_code == 0
    assert "For example:" in result.stdout
    assert f"limrank {command}" in result.stdout


def test_the_help_tells_the_exit_status():
    assert re.search(r"Exit status: 0 success; 2 .* 1 .* 130\s+Ctrl-C", limrank("--help").stdout)


def test_the_command_line_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'pyterrier', 'pandas', 'scipy', 'ir_measures', 'numpy'}"
    code = f"import sys, limrank_ir.cli.app; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    running = process("models", stdout=writing)
    os.close(writing)
    _, said = running.communicate(timeout=30)
    assert (running.returncode, said) == (1, "")


def test_a_full_disk_is_one_line_and_status_1(folder):
    with open("/dev/full", "w") as full:
        running = process("models", stdout=full)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert said == "limrank: output: No space left on device; make room, or write somewhere else\n"


@pytest.mark.parametrize("width", [30, 80])
def test_a_table_on_a_terminal_keeps_numbers_whole_however_narrow_it_is(monkeypatch, width):
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, force_terminal=True, color_system=None, width=width))
    console.table(["run", "nDCG@10", "p nDCG@10"], [["a-[b]-very-long-name.txt", "0.1234", "<0.0001"]])
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert "nDCG@10" in drawn and "0.1234" in drawn and "<0.0001" in drawn
    names = "".join(line[: line.index(" ") if " " in line else None] for line in drawn.splitlines()[2:])
    assert names == "a-[b]-very-long-name.txt"


def test_a_bar_is_drawn_on_stderr_and_gone_at_the_end(monkeypatch, capsys):
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=80))
    with console.session(), console.progress("reading", 2, "books") as advance:
        advance(2)
        console.log.warning("a [note] in between")
    assert "reading" in screen.getvalue() and "2/2" in screen.getvalue()
    assert "a [note] in between" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")
    assert capsys.readouterr().out == ""


def test_long_jobs_without_a_terminal_report_once_in_a_while(monkeypatch, capsys):
    monkeypatch.setattr(console, "PULSE", 0.0)
    with console.session(), console.progress("reading", 1500, "books") as advance:
        advance(1200)
    assert re.fullmatch(r"note: reading: 1,200 of 1,500 books, [\d,.]+ books/s, 0.0 s left\n", capsys.readouterr().err)


def test_a_session_leaves_logging_as_it_was():
    log = logging.getLogger("limrank_ir")
    before = (list(log.handlers), log.level, log.propagate)
    limrank("models", "--json")
    limrank("eval", "--quiet", "--qrels", "nothing", "nothing")
    assert (list(log.handlers), log.level, log.propagate) == before


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (12.4, "12 s"), (179, "3 min"), (4790, "1 h 20 min"), (3599, "1 h 0 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
