"""Reading and writing files safely: nothing half-written stays, and errors name file and line."""

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

# A disk that is full or broken, a share that is gone, no memory, no handles left.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
_JSON_KINDS = {dict: "an object", list: "a list", bool: "true or false", float: "no finite number"}


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[TextIO]:
    """Open a text file for writing beside ``path``; it takes that name only when the block ends without an error.

    A device or a pipe (``/dev/stdout``) is written in place. A symbolic link stays one: the file behind it is replaced.

    Args:
        path: the file to write or replace; gzip-compressed when the name ends in ``.gz``. Its folder is created.

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
            shutil.copymode(target, temporary)  # a private file stays private
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def lines(path: str | PathLike[str]) -> Iterator[tuple[int, str]]:
    """Stream the lines of a UTF-8 text file, plain or ``.gz``.

    Args:
        path: the file.

    Yields:
        (line number from 1, line without its line end). A byte-order mark at the start of any line is dropped: files
        that were joined have them inside.

    Raises:
        InputError: missing or unreadable file, bytes that are not UTF-8, or gzip data that is cut short.
        EngineError: the disk fails.
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
        raise InputError(f"{path}: gzip data broken or cut short after line {number}; get the file again") from error
    except OSError as error:
        raise _failure(error)(f"{path}: cannot be read ({error.strerror or error}); check the file") from error


def _failure(error: OSError) -> type[LimRankError]:
    """Whose fault it is: the machine's or the user's."""
    return EngineError if error.errno in _MACHINE else InputError


def rows(path: str | PathLike[str]) -> Iterator[tuple[str, str]]:
    """Stream the lines that are not blank, each with the place that an error message names.

    Args:
        path: the file, as for :func:`lines`.

    Yields:
        (place, such as ``run.txt:7``; line without its line end).

    Raises:
        InputError: as for :func:`lines`.
    """
    for number, line in lines(path):
        if line and not line.isspace():
            yield f"{path}:{number}", line


def sniff(path: str | PathLike[str]) -> tuple[str, Iterator[tuple[str, str]]]:
    """Look at the first character that is not blank, which tells formats apart. The file is opened only once.

    Args:
        path: the file, as for :func:`lines`.

    Returns:
        That character, and all the :func:`rows`.

    Raises:
        InputError: as for :func:`lines`, or nothing but blanks in the file.
    """
    stream = rows(path)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{path}: the file is empty; check how it was made")
    return first[1].lstrip()[0], chain([first], stream)


def find(path: str | PathLike[str], names: Sequence[str]) -> Path:
    """Find the file that is meant when a folder may be given in its stead.

    Args:
        path: a file, which is returned as it is, or a folder.
        names: what the file may be called inside the folder, the likeliest first.

    Returns:
        The file; it need not exist if ``path`` is no folder.

    Raises:
        InputError: a folder that holds none of the names.
    """
    folder = Path(path)
    if not folder.is_dir():
        return folder
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{path}: the folder holds no {' or '.join(names)}; name the file itself")


def json_object(place: str, line: str) -> dict[str, Any]:
    """Parse one line of JSONL.

    Args:
        place: where the line stands, for the error message.
        line: the line.

    Returns:
        The object. Numbers stay the text that they were written as, so that an id keeps its digits.

    Raises:
        InputError: malformed JSON, or something other than an object.
    """
    return _json(place, line, str)


def _json(place: str, line: str, numbers: Callable[[str], Any] | None = None) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_int=numbers, parse_float=numbers)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place}: malformed JSON ({error.msg}, column {error.colno}); write one object a line"
        ) from error
    except RecursionError as error:
        raise InputError(f"{place}: malformed JSON (nested too deep); write one object a line") from error
    if not isinstance(value, dict):
        raise InputError(f"{place}: JSON, but not an object; write one object a row")
    return value


def json_records(path: str | PathLike[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stream the JSON objects of a file: JSONL, or one list of objects.

    Args:
        path: the file, plain or ``.gz``.

    Yields:
        (place, such as ``train.jsonl:7``; the object, numbers as numbers), at least one.

    Raises:
        InputError: the file cannot be read, holds nothing, or is no JSON.
    """
    mark, stream = sniff(path)
    if mark == "[":
        return json_list(stream)
    return ((place, _json(place, line)) for place, line in stream)


def json_list(
    stream: Iterable[tuple[str, str]], *, numbers: Callable[[str], Any] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of one JSON list, which may go over many lines.

    Args:
        stream: the lines with their places, at least one, as :func:`sniff` gives them.
        numbers: what makes a value of a number; None: numbers stay numbers.

    Yields:
        (place, such as ``train.json: row 7``; the object), at least one.

    Raises:
        InputError: malformed JSON, an empty list, or something other than objects in it.
    """
    places, whole = zip(*stream, strict=True)
    file = places[0].rpartition(":")[0]
    try:
        found = json.loads("\n".join(whole), parse_int=numbers, parse_float=numbers)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{places[error.lineno - 1]}: malformed JSON ({error.msg}, column {error.colno}); write a list of "
            "objects, or one object a line"
        ) from error
    except RecursionError as error:
        raise InputError(f"{file}: malformed JSON (nested too deep); write a list of objects") from error
    if not found:
        raise InputError(f"{file}: holds no rows; check how it was made")
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise InputError(f"{file}: row {number}: JSON, but not an object; write one object a row")
        yield f"{file}: row {number}", row


def filled(record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Which key of a record to read: the first that holds something; else the first that is there.

    Args:
        record: the record; null counts as missing.
        keys: the keys to try, in order.

    Returns:
        The key, or None if none is there.
    """
    there = [key for key in keys if record.get(key) is not None]
    full = (key for key in there if not isinstance(record[key], str) or record[key].strip())
    return next(full, there[0] if there else None)


def json_text(place: str, record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    r"""Take the text that a JSON record holds under the first of several keys.

    Args:
        place: where the record stands, for the error message.
        record: a record of :func:`json_object`.
        keys: the keys to try, in order; an empty text does not hide what stands under a later one.

    Returns:
        The text, or None if no key is there.

    Raises:
        InputError: the value is not text, or holds half a surrogate pair (``"\ud83d"``), which no file can store.
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
    """Take the text under the first of several keys, one of which must be there.

    Args:
        place: where the record stands, for the error message.
        record: a record of :func:`json_object`.
        keys: the keys to try, in order.

    Returns:
        The text.

    Raises:
        InputError: none of the keys is there, or as for :func:`json_text`.
    """
    text = json_text(place, record, keys)
    if text is None:
        raise InputError(f"{place}: no {' or '.join(repr(key) for key in keys)} in this record; add one")
    return text
