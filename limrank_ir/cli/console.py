"""What the command line prints besides its results: notes, errors, and progress, all on stderr; and tables."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from limrank_ir.formats.output import write_stdout
from limrank_ir.formats.words import duration

log = logging.getLogger("limrank_ir")

MIN_WIDTH = 8  # of a table's text column
GAP = 2  # between columns
REPORT_EVERY = 60.0  # seconds between progress lines when there is no terminal for a progress bar
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_QUIET_ENVIRONMENT = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def silence_libraries() -> None:
    """Keep libraries from printing logs and warnings. Call it before they are imported."""
    for name, value in _QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ir_datasets").addFilter(lambda record: record.levelno > logging.INFO)  # sets its own level
    if not sys.warnoptions:  # with python -W or PYTHONWARNINGS, the user wants to see them
        warnings.simplefilter("ignore")


class _Notes(logging.Handler):
    """Shows log messages of the package as one-line notes."""

    def emit(self, record: logging.LogRecord) -> None:
        _line("note:", "dim", record.getMessage())


@contextmanager
def session() -> Iterator[None]:
    """Show the package's log on stderr while a command runs."""
    handler, level, propagate = _Notes(), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def quiet(value: bool) -> bool:
    """Silence notes and progress for the rest of the session if ``value`` is true (the callback of ``--quiet``)."""
    if value:
        log.setLevel(logging.ERROR)
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return value


def error(message: str) -> None:
    """Print an error on one line, even if the message has several."""
    _line("limrank:", "bold red", message)


def _line(head: str, style: str, message: str) -> None:
    # Text prints brackets in paths literally instead of as markup; soft_wrap keeps the message on one line.
    err.print(Text.assemble((head, style), " ", " ".join(message.splitlines())), soft_wrap=True)


@contextmanager
def progress(
    task: str, total: int | None, unit: str, note: Callable[[], str] = lambda: ""
) -> Iterator[Callable[[int], None]]:
    """Show progress: a bar on a terminal, otherwise a line every minute; nothing with ``--quiet``.

    Args:
        task: what is being done.
        total: the number of units, or None if unknown.
        unit: the plural name of a unit.
        note: returns text to append, such as the cost so far.

    Yields:
        A function to call with the number of units done since the last call.
    """
    if not log.isEnabledFor(logging.INFO):
        yield lambda count: None
    elif not err.is_terminal:
        yield _progress_log(task, total, unit, note)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(unit),
            _Note(note),
            TimeRemainingColumn(compact=True),
        )
        # By default, Rich would redirect everything printed on stdout to this console, which is stderr.
        with Progress(
            *columns, console=err, transient=True, expand=True, redirect_stdout=False, redirect_stderr=False
        ) as bar:
            job = bar.add_task(task, total=total)
            yield lambda count: bar.advance(job, count)


class _Rate(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self.unit}/s" if speed else "")


class _Note(ProgressColumn):
    """The text from the job's ``note`` function."""

    def __init__(self, note: Callable[[], str]) -> None:
        super().__init__()
        self.note = note

    def render(self, task: Task) -> Text:
        return Text(self.note())


def _progress_log(task: str, total: int | None, unit: str, note: Callable[[], str]) -> Callable[[int], None]:
    """Log progress from time to time, for runs whose stderr goes to a file."""
    started = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last < REPORT_EVERY:
            return
        last = now
        rate = done / (now - started)
        message = f"{task}: {done:,}"
        if total:
            message += f" of {total:,}"
        message += f" {unit}, {rate:,.1f} {unit}/s"
        if total and rate:
            message += f", {duration((total - done) / rate)} left"
        if extra := note():
            message += f", {extra}"
        log.info("%s", message)

    return advance


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a result on stdout: a table on a terminal, otherwise tab-separated lines for other programs.

    Args:
        header: the columns' names.
        rows: the cells.
        left: how many leading columns are left-aligned text; the rest are right-aligned numbers.
    """
    if not out.is_terminal:
        write_stdout("".join("\t".join(row) + "\n" for row in [header, *rows]))
        return
    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name in header[:left]:
        drawn.add_column(Text(name), overflow="fold", vertical="bottom")
    for name in header[left:]:  # numbers never wrap, however narrow the terminal is
        drawn.add_column(Text(name.replace(" ", "\n")), justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*map(Text, row))
    columns = list(zip(header, *rows, strict=True))[left:]
    widths = [max(len(word) for cell in column for word in cell.split()) for column in columns]
    needed = (MIN_WIDTH + GAP) * left + sum(width + GAP for width in widths)
    if needed > out.width:
        drawn.width = needed  # the terminal wraps the lines, but nothing is lost
    out.print(drawn, crop=False, no_wrap=True)
