"""Mistakes in files and options: one line each, before any model is loaded."""

from __future__ import annotations

import gzip
import os

import pytest

from .command_line import CORPUS, QRELS, RUN, files, limrank, refused, rerank, write_broken_model, write_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder of the command, with good files in it."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_model(folder):
    return write_broken_model(folder)


def test_a_model_that_cannot_be_loaded_gives_another_error(folder, no_model):
    refused(rerank(*no_model), "model: no config.json, so not a model's folder")


BAD_FILES = {
    "unknown topic": ("run.txt", "q1 Q0 d1 1 1 x\nq7 Q0 d1 1 1 x\n", "topics.tsv: 1 of 2 queries of run.txt"),
    "unknown docno": ("run.txt", "q1 Q0 d9 1 1 x\n", "corpus.jsonl: 1 of 1 passages are not in this corpus ('d9')"),
    "empty run": ("run.txt", "", "run.txt: empty run; check the first stage"),
    "duplicate docno": ("run.txt", "q1 Q0 d1 1 1 x\nq1 Q0 d1 2 0 x\n", "run.txt:2: duplicate document 'd1'"),
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
    refused(rerank(*no_model, "--run", "run.txt.gz"), "run.txt.gz: corrupt or truncated gzip data")


def test_brackets_in_a_path_are_printed_as_they_are(folder, no_model):
    refused(rerank(*no_model, "--run", "[red]run[/].txt"), "[red]run[/].txt: no such file")


BAD_PLACES = {
    "no folder can be made": (["-o", "run.txt/out.txt"], "run.txt is a file, not a folder; choose another place"),
    "a folder": (["-o", "model"], "-o model: is a folder"),
    "the first stage": (["-o", "run.txt"], "-o run.txt: is also the file of --run"),
    "one file twice": (["--explain", "./out.txt"], "--explain out.txt: is also the file of -o"),
    "stdout twice": (["-o", "-", "--json"], "-o and --json both write to stdout"),
    "a store that is another file": (["--store", "qrels.txt"], "qrels.txt: is not a LimRank store"),
    "a tag of two words": (["--tag", "my run"], "--tag: tag 'my run' is empty, or has whitespace"),
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
