"""What the command line prints beside its results: notes, errors and progress, all on stderr."""

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

from limrank_ir.errors import InputError, LimRankError
from limrank_ir.formats.output import write_stdout
from limrank_ir.formats.words import duration

log = logging.getLogger("limrank_ir")

NARROWEST, GAP = 8, 2  # of a table's text column, and between columns
PULSE = 60.0  # seconds between lines of progress where there is no terminal to draw a bar on
INPUT, FAILURE, INTERRUPTED = 2, 1, 130
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_HUSHED = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def hush() -> None:
    """Keep libraries from talking to a user who asked us: to be called before they are imported."""
    for name, value in _HUSHED.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ir_datasets").addFilter(lambda record: record.levelno > logging.INFO)  # sets its own level
    if not sys.warnoptions:  # python -W, PYTHONWARNINGS: somebody wants to see them
        warnings.simplefilter("ignore")


class _Notes(logging.Handler):
    """Shows what the package logs as notes, a line each."""

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
    """Silence notes and progress for the rest of the session, if ``value`` says so (the callback of ``--quiet``)."""
    if value:
        log.setLevel(logging.ERROR)
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return value


def error(message: str) -> None:
    """Say in one line what went wrong, whatever the message holds."""
    _line("limrank:", "bold red", message)


def _line(head: str, style: str, message: str) -> None:
    # A Text is printed as it is: brackets in a path are no markup. soft_wrap: a line stays a line.
    err.print(Text.assemble((head, style), " ", " ".join(message.splitlines())), soft_wrap=True)


@contextmanager
def progress(
    task: str, total: int | None, unit: str, note: Callable[[], str] = lambda: ""
) -> Iterator[Callable[[int], None]]:
    """Show how far a job is: a bar on a terminal, else a line a minute; nothing with ``--quiet``.

    Args:
        task: what is being done.
        total: how many units there are, or None.
        unit: the unit's name, in the plural.
        note: what to say behind it, such as what it has cost so far.

    Yields:
        A function to be called with the number of units done since it was called last.
    """
    if not log.isEnabledFor(logging.INFO):
        yield lambda count: None
    elif not err.is_terminal:
        yield _pulse(task, total, unit, note)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(unit),
            _Note(note),
            TimeRemainingColumn(compact=True),
        )
        # Rich would send what others print on stdout to this console, which is stderr.
        with Progress(
            *columns, console=err, transient=True, expand=True, redirect_stdout=False, redirect_stderr=False
        ) as bar:
            job = bar.add_task(task, total=total)
            yield lambda count: bar.advance(job, count)


class _Rate(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self.unit}/s" if speed else "")


class _Note(ProgressColumn):
    """What the job says of itself."""

    def __init__(self, note: Callable[[], str]) -> None:
        super().__init__()
        self.note = note

    def render(self, task: Task) -> Text:
        return Text(self.note())


def _pulse(task: str, total: int | None, unit: str, note: Callable[[], str]) -> Callable[[int], None]:
    """Log progress once in a while, for runs whose stderr goes into a file."""
    started = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last < PULSE:
            return
        last, rate = now, done / (now - started)
        left = f" of {total:,}" if total else ""
        rest = f", {duration((total - done) / rate)} left" if total and rate else ""
        said = f", {note()}" if note() else ""
        log.info("%s: %s%s %s, %s %s/s%s%s", task, f"{done:,}", left, unit, f"{rate:,.1f}", unit, rest, said)

    return advance


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a result on stdout: a table on a terminal, else tab-separated lines for other programs.

    Args:
        header: the columns' names.
        rows: the cells.
        left: how many columns are text and stand at the left; those after them are numbers.
    """
    if not out.is_terminal:
        write_stdout("".join("\t".join(row) + "\n" for row in [header, *rows]))
        return
    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name in header[:left]:
        drawn.add_column(Text(name), overflow="fold", vertical="bottom")
    for name in header[left:]:  # numbers stay on one line, however narrow the terminal is
        drawn.add_column(Text(name.replace(" ", "\n")), justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*map(Text, row))
    numbers = [
        max(len(cell) for name in column for cell in name.split()) for column in zip(header, *rows, strict=True)
    ][left:]
    least = (NARROWEST + GAP) * left + sum(width + GAP for width in numbers)
    if least > out.width:
        drawn.width = least  # the terminal breaks the lines, but everything is there
    out.print(drawn, crop=False, no_wrap=True)


def status_of(failure: LimRankError) -> int:
    """The exit status of a failure: 2 for what the user can mend, 1 for what the machine did."""
    return INPUT if isinstance(failure, InputError) else FAILURE
