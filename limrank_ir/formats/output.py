"""Output of the command line: destinations are checked before the work starts, and files are never half-written."""

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
    """Make sure that results can be written before hours of work begin. The check leaves nothing behind.

    Args:
        outputs: option to its file, or None if the option is not given.
        inputs: the same for input files.

    Raises:
        InputError: a file cannot be written (`check_folder`), or an output would replace an input or another output.
    """
    used = {path.resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        if path == STDOUT:
            if STDOUT in used:
                raise InputError(f"{used[STDOUT]} and {option} both write to stdout; give {used[STDOUT]} a file")
            used[STDOUT] = option
            continue
        if os.path.isdir(path):
            raise InputError(f"{option} {path}: is a folder; name a file in it")
        if os.path.exists(path) and not os.path.isfile(path):
            continue  # a device or a pipe
        check_folder(f"{option} {path}", Path(os.path.realpath(path)).parent)
        other = used.setdefault(path.resolve(), option)
        if other != option:
            raise InputError(f"{option} {path}: is also the file of {other}; choose another")


def check_folder(option: str, folder: Path) -> None:
    """Make sure that results can be written into a folder, which may not exist yet. The check does not create it.

    Later, all missing folders are created under the current folder and under home, one folder elsewhere, and none
    directly in the root folder: a path that needs more is usually misspelled.

    Args:
        option: the option and its value, for the error message.
        folder: the folder.

    Raises:
        InputError: it cannot be written, or needs folders that are not created.
    """
    target = Path(os.path.realpath(folder))
    existing = next(place for place in (target, *target.parents) if os.path.exists(place))
    if not os.path.isdir(existing):
        raise InputError(f"{option}: {existing} is a file, not a folder; choose another place")
    root = Path(target.anchor)
    own = {Path.cwd(), Path(os.path.realpath(os.path.expanduser("~")))} - {root}
    missing = len(target.relative_to(existing).parts)
    allowed = 0 if existing == root else 1
    if missing > allowed and not any(existing.is_relative_to(place) for place in own):
        raise InputError(f"{option}: there is no folder {target}; check the path, or make it first: mkdir -p {target}")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise InputError(f"{option}: cannot write here ({error.strerror}); choose another place") from error


def save_run(path: Path, run: Mapping[str, Iterable[tuple[str, float]]], tag: str) -> None:
    """Write a TREC run to a file, or to stdout if the path is ``-`` (see `limrank_ir.formats.trec.write_run`)."""
    if path != STDOUT:
        write_run(path, run, tag=tag)
        return
    with tempfile.TemporaryDirectory(prefix="limrank-") as folder:
        file = Path(folder, "run")
        write_run(file, run, tag=tag)
        write_stdout(file.read_text(encoding="utf-8"))


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """Open a file for a result, or stdout if the path is ``-``. Nothing is written if the block fails."""
    if path != STDOUT:
        with replacing(path) as file:
            yield file
        return
    buffer = io.StringIO()
    yield buffer
    write_stdout(buffer.getvalue())


def output_name(path: Path) -> str:
    """The name of an output, for a message."""
    return "stdout" if path == STDOUT else str(path)


def write_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    write_stdout(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_stdout(text: str) -> None:
    """Print results in UTF-8, whatever the encoding of the terminal."""
    sys.stdout.flush()
    # Half surrogate pairs can only occur in JSON strings (odd file names), where they become the JSON escape \udc80.
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()
