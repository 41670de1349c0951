"""Where the command line's results go: checked before the work starts, written whole or not at all."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.formats.trec import write_run

STDOUT = Path("-")


def check_places(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Make sure that results can be written, before hours are spent on them. Nothing is left behind by the check.

    Args:
        outputs: option to the file that it names; None where it was not given.
        inputs: the same of what is read.

    Raises:
        InputError: a place cannot be written (`check_folder`), or an output would replace an input or another output.
    """
    taken = {path.resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        if path == STDOUT:
            if STDOUT in taken:
                raise InputError(f"{taken[STDOUT]} and {option} both want stdout; give {taken[STDOUT]} a file")
            taken[STDOUT] = option
            continue
        if os.path.isdir(path):
            raise InputError(f"{option} {path}: is a folder; name a file in it")
        if os.path.exists(path) and not os.path.isfile(path):
            continue  # a device or a pipe
        check_folder(f"{option} {path}", Path(os.path.realpath(path)).parent)
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise InputError(f"{option} {path}: is the file of {other}, too; give another")


def check_folder(option: str, folder: Path) -> None:
    """Make sure that results can be written into a folder, which need not be there yet; the check does not make it.

    Below the current folder and below home all that is missing will be made, elsewhere one folder, and none in the root
    folder: a path that asks for more is most often misspelled.

    Args:
        option: the option and its value, for the error message.
        folder: the folder.

    Raises:
        InputError: it cannot be written, or would be made where no folder is made.
    """
    whole = Path(os.path.realpath(folder))
    there = next(place for place in (whole, *whole.parents) if os.path.exists(place))
    if not os.path.isdir(there):
        raise InputError(f"{option}: {there} is a file, not a folder; choose another place")
    root = Path(whole.anchor)
    own = {Path.cwd(), Path(os.path.realpath(os.path.expanduser("~")))} - {root}
    missing = len(whole.relative_to(there).parts)
    if missing >= (1 if there == root else 2) and not any(there.is_relative_to(place) for place in own):
        raise InputError(f"{option}: there is no folder {whole}; check the path, or make it first: mkdir -p {whole}")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(f"{option}: cannot write here ({error.strerror}); choose another place") from error


def save_run(path: Path, run: Mapping[str, Iterable[tuple[str, float]]], tag: str) -> None:
    """Write a TREC run into a file, or to stdout if the path is ``-`` (see `limrank_ir.formats.trec.write_run`)."""
    if path != STDOUT:
        write_run(path, run, tag=tag)
        return
    with tempfile.TemporaryDirectory(prefix="limrank-") as folder:
        whole = Path(folder, "run")
        write_run(whole, run, tag=tag)
        write_stdout(whole.read_text(encoding="utf-8"))


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open a file for a result, or stdout if the path is ``-``; it gets the whole or nothing."""
    if path != STDOUT:
        with replacing(path) as file:
            yield file
        return
    whole = io.StringIO()
    yield whole
    write_stdout(whole.getvalue())


def named(path: Path) -> str:
    """A place, for a message."""
    return "stdout" if path == STDOUT else str(path)


def write_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    write_stdout(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_stdout(text: str) -> None:
    """Print results in UTF-8, whatever the terminal's encoding is."""
    sys.stdout.flush()
    # Half characters can only stand in JSON strings here (odd file names), and become JSON's own \udc80 for them.
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()
