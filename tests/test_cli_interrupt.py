"""Ctrl-C: what is kept, and how a run continues."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from .command_line import limrank, one_thread, process, write_files


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
    """Send SIGINT when the process is ready, and again until it stops; returns its output."""
    deadline = time.monotonic() + 180  # a busy machine starts slowly
    while not ready():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline, "never became ready"
        time.sleep(0.01)
    while running.poll() is None:
        assert time.monotonic() < deadline, "does not stop"
        running.send_signal(signal.SIGINT)
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:  # the signal arrived where Python cannot raise, such as in an import callback
            continue
    return running.communicate()


RERANK = ("rerank", "--run", "run.txt", "--topics", "topics.tsv", "--corpus", "corpus.jsonl", "--batch-size", 1)


def test_ctrl_c_keeps_verdicts_in_the_store_and_the_next_run_continues(folder):
    long_files(folder)
    running = process(*RERANK, "-o", "out.txt", "--store", "verdicts.db")
    _, stderr = interrupted(running, lambda: verdicts_in("verdicts.db") >= 2)
    assert running.returncode == 130
    kept = verdicts_in("verdicts.db")
    assert 2 <= kept < 14
    last = stderr.splitlines()[-1]
    assert re.fullmatch(
        r"limrank: interrupted after \d+ of 14 pairs; \d+ verdicts are in verdicts.db; "
        r"run the same command again to continue",
        last,
    ), stderr
    assert "Traceback" not in stderr
    assert not Path("out.txt").exists()

    again = limrank(*RERANK, "-o", "out.txt", "--store", "verdicts.db")
    assert f"({14 - kept} judged, {kept} from the store)" in again.stderr
    whole = limrank(*RERANK, "-o", "whole.txt")
    assert "(14 judged, 0 from the store)" in whole.stderr
    assert (folder / "out.txt").read_bytes() == (folder / "whole.txt").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="watches /proc for the right moment")
def test_ctrl_c_without_a_store_says_that_nothing_was_kept(folder):
    long_files(folder)
    running = process(*RERANK, "-o", "out.txt")
    # Only the model needs torch: once it is loaded, judging has begun.
    _, stderr = interrupted(running, lambda: "libtorch" in Path(f"/proc/{running.pid}/maps").read_text())
    assert running.returncode == 130
    assert re.search(
        r"^limrank: interrupted after \d+ of 14 pairs; nothing was kept; use --store FILE to make a run resumable$",
        stderr,
        re.MULTILINE,
    )
    assert not Path("out.txt").exists()
