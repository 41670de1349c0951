"""Reading and writing files safely: no half-written files, and errors that name the file and line."""

from __future__ import annotations

import errno
import gzip
import json
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

from limrank_ir.errors import EngineError, InputError, LimRankError

# The disk is full or broken, a network share is gone, or memory or file handles ran out.
_MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
_JSON_KINDS = {dict: "an object", list: "a list", bool: "true or false", float: "a non-finite number"}


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[TextIO]:
    """Write a temporary text file next to ``path``, and rename it to ``path`` if the block ends without an error.

    A device or a pipe (``/dev/stdout``) is written directly. For a symbolic link, the file it points to is replaced.

    Args:
        path: the file to write or replace; compressed if the name ends in ``.gz``. Its folder is created.

    Yields:
        The open UTF-8 text file.

    Raises:
        InputError: ``path`` is a folder, or its folder cannot be written.
        EngineError: the disk is full or broken.
    """
    if Path(path).is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if Path(path).exists() and not Path(path).is_file():
        with open(path, "w", encoding="utf-8", newline="\n") as device:
            yield device
        return
    target = Path(path).resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise _failure(error)(f"{path}: cannot write here ({error.strerror}); choose another place") from error
    try:
        opened = gzip.open if str(path).endswith(".gz") else open
        with opened(temporary, "wt", encoding="utf-8", newline="\n") as file:
            yield file
        if target.exists():
            shutil.copymode(target, temporary)  # keeps a private file private
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def lines(path: str | PathLike[str]) -> Iterator[tuple[int, str]]:
    """Stream the lines of a UTF-8 text file, plain or ``.gz``.

    Args:
        path: the file.

    Yields:
        (line number from 1, line without its line end). A byte-order mark at the start of any line is dropped, because
        concatenated files have them in the middle.

    Raises:
        InputError: the file is missing, unreadable, not UTF-8, or truncated gzip data.
        EngineError: the disk failed.
    """
    number = 0
    try:
        opened = gzip.open if str(path).endswith(".gz") else open
        with opened(path, "rb") as file:
            for raw in file:
                number += 1
                yield number, raw.decode().lstrip("\ufeff").rstrip("\r\n")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: not UTF-8 (byte {error.object[error.start]:#04x}); convert the file to UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: corrupt or truncated gzip data after line {number}; get the file again") from error
    except OSError as error:
        raise _failure(error)(f"{path}: cannot be read ({error.strerror or error}); check the file") from error


def _failure(error: OSError) -> type[LimRankError]:
    """The kind of error: the machine's fault or the user's."""
    return EngineError if error.errno in _MACHINE_ERRORS else InputError


def rows(path: str | PathLike[str]) -> Iterator[tuple[str, str]]:
    """Stream the lines that are not blank, each with its place for error messages.

    Args:
        path: the file, as for `lines`.

    Yields:
        (place, such as ``run.txt:7``; the line without its line end).

    Raises:
        InputError: as for `lines`.
    """
    for number, line in lines(path):
        if line and not line.isspace():
            yield f"{path}:{number}", line


def sniff(path: str | PathLike[str]) -> tuple[str, Iterator[tuple[str, str]]]:
    """Find the first character that is not blank, which tells formats apart. The file is opened only once.

    Args:
        path: the file, as for `lines`.

    Returns:
        That character, and all the `rows`.

    Raises:
        InputError: as for `lines`, or the file is blank.
    """
    stream = rows(path)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{path}: the file is empty; check how it was made")
    return first[1].lstrip()[0], chain([first], stream)


def find(path: str | PathLike[str], names: Sequence[str]) -> Path:
    """Find a file in a folder, if a folder is given instead of the file.

    Args:
        path: a file, which is returned unchanged, or a folder.
        names: possible names of the file in the folder, the most likely first.

    Returns:
        The file. It may not exist if ``path`` is not a folder.

    Raises:
        InputError: the folder has none of these files.
    """
    folder = Path(path)
    if not folder.is_dir():
        return folder
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{path}: the folder has no {' or '.join(names)}; name the file itself")


def json_object(place: str, line: str) -> dict[str, Any]:
    """Parse one line of JSONL.

    Args:
        place: where the line is, for the error message.
        line: the line.

    Returns:
        The object. Numbers are kept as text, so that an id keeps its digits.

    Raises:
        InputError: malformed JSON, or not an object.
    """
    return _json(place, line, str)


def _json(place: str, line: str, numbers: Callable[[str], Any] | None = None) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_int=numbers, parse_float=numbers)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place}: malformed JSON ({error.msg}, column {error.colno}); write one object per line"
        ) from error
    except RecursionError as error:
        raise InputError(f"{place}: malformed JSON (nested too deep); write one object per line") from error
    if not isinstance(value, dict):
        raise InputError(f"{place}: JSON, but not an object; write one object per row")
    return value


def json_records(path: str | PathLike[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stream the JSON objects of a file: JSONL, or a list of objects.

    Args:
        path: the file, plain or ``.gz``.

    Yields:
        (place, such as ``train.jsonl:7``; the object, with numbers as numbers), at least one.

    Raises:
        InputError: the file cannot be read, is empty, or is not JSON.
    """
    mark, stream = sniff(path)
    if mark == "[":
        return json_list(stream)
    return ((place, _json(place, line)) for place, line in stream)


def json_list(
    stream: Iterable[tuple[str, str]], *, numbers: Callable[[str], Any] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a JSON list, which may span many lines.

    Args:
        stream: the lines with their places, at least one, as returned by `sniff`.
        numbers: how to convert numbers; None keeps them as numbers.

    Yields:
        (place, such as ``train.json: row 7``; the object), at least one.

    Raises:
        InputError: malformed JSON, an empty list, or elements that are not objects.
    """
    places, all_lines = zip(*stream, strict=True)
    file = places[0].rpartition(":")[0]
    try:
        found = json.loads("\n".join(all_lines), parse_int=numbers, parse_float=numbers)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{places[error.lineno - 1]}: malformed JSON ({error.msg}, column {error.colno}); write a list of "
            "objects, or one object per line"
        ) from error
    except RecursionError as error:
        raise InputError(f"{file}: malformed JSON (nested too deep); write a list of objects") from error
    if not found:
        raise InputError(f"{file}: no rows; check how it was made")
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise InputError(f"{file}: row {number}: JSON, but not an object; write one object per row")
        yield f"{file}: row {number}", row


def filled(record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """The key of a record to read: the first whose value is not blank, or else the first that exists.

    Args:
        record: the record; null counts as missing.
        keys: the keys to try, in order.

    Returns:
        The key, or None if none exists.
    """
    present = [key for key in keys if record.get(key) is not None]
    for key in present:
        if not isinstance(record[key], str) or record[key].strip():
            return key
    return present[0] if present else None


def json_text(place: str, record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    r"""Get the text under the first of several keys of a JSON record.

    Args:
        place: where the record is, for the error message.
        record: a record of `json_object`.
        keys: the keys to try, in order; an empty text does not hide the text under a later key.

    Returns:
        The text, or None if no key exists.

    Raises:
        InputError: the value is not text, or contains half a surrogate pair (``"\ud83d"``), which UTF-8 cannot store.
    """
    key = filled(record, keys)
    if key is None:
        return None
    value = record[key]
    if not isinstance(value, str):
        raise InputError(f"{place}: {key!r} holds {_JSON_KINDS.get(type(value), 'no text')}; make it a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{place}: {key!r} holds half a character ({value[error.start]!r}); remove it or write the whole character"
        ) from error
    return value


def need_json_text(place: str, record: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Get the text under the first of several keys, one of which must exist.

    Args:
        place: where the record is, for the error message.
        record: a record of `json_object`.
        keys: the keys to try, in order.

    Returns:
        The text.

    Raises:
        InputError: none of the keys exists, or as for `json_text`.
    """
    text = json_text(place, record, keys)
    if text is None:
        raise InputError(f"{place}: no {' or '.join(repr(key) for key in keys)} in this record; add one")
    return text
