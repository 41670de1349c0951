"""What the command line prints: tables, progress, notes, and errors of the output itself."""

from __future__ import annotations

import io
import logging
import os
import re

import pytest
from rich.console import Console

from limrank_ir.cli import console
from limrank_ir.formats.words import duration

from .command_line import limrank, process


def test_a_closed_pipe_ends_the_command_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    running = process("models", stdout=writing)
    os.close(writing)
    _, stderr = running.communicate(timeout=30)
    assert (running.returncode, stderr) == (1, "")


def test_a_full_disk_is_one_line_and_status_1():
    with open("/dev/full", "w") as full:
        running = process("models", stdout=full)
        _, stderr = running.communicate(timeout=30)
    assert running.returncode == 1
    assert stderr == "limrank: output: No space left on device; free some space, or write somewhere else\n"


@pytest.mark.parametrize("width", [30, 80])
def test_a_table_never_wraps_numbers_however_narrow_the_terminal(monkeypatch, width):
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, force_terminal=True, color_system=None, width=width))
    console.table(["run", "nDCG@10", "p nDCG@10"], [["a-[b]-very-long-name.txt", "0.1234", "<0.0001"]])
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert "nDCG@10" in drawn and "0.1234" in drawn and "<0.0001" in drawn
    names = "".join(line[: line.index(" ") if " " in line else None] for line in drawn.splitlines()[2:])
    assert names == "a-[b]-very-long-name.txt"


def test_a_progress_bar_is_drawn_on_stderr_and_removed_at_the_end(monkeypatch, capsys):
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=80))
    with console.session(), console.progress("reading", 2, "books") as advance:
        advance(2)
        console.log.warning("a [note] in between")
    assert "reading" in screen.getvalue() and "2/2" in screen.getvalue()
    assert "a [note] in between" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")
    assert capsys.readouterr().out == ""


def test_long_jobs_without_a_terminal_log_progress(monkeypatch, capsys):
    monkeypatch.setattr(console, "REPORT_EVERY", 0.0)
    with console.session(), console.progress("reading", 1500, "books") as advance:
        advance(1200)
    assert re.fullmatch(r"note: reading: 1,200 of 1,500 books, [\d,.]+ books/s, 0.0 s left\n", capsys.readouterr().err)


def test_a_session_restores_logging():
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
