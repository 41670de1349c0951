"""Shared by the tests of the command line: small files, and ways to run commands on them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner

from limrank_ir.cli.app import app

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


@contextmanager
def one_thread():
    """Use one thread, so that this process and others add floats in the same order and do not compete for cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write_files(folder):
    """Write `FILES` into a folder."""
    for name, text in FILES.items():
        (folder / name).write_text(text)


def write_broken_model(folder):
    """Options for a model that cannot be loaded: a command that tries gets an error other than the expected one."""
    (folder / "model").mkdir()
    return ("--model", "model", "--prompt-format", "rank1")


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


def refused(result, message):
    """Check that the command printed this one line and left nothing behind."""
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("limrank: ")
    assert message in lines[0]
    assert not Path("out.txt").exists()
    assert not [name for name in os.listdir() if name.endswith(".tmp")]
