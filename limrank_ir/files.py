"""Reading and writing files safely: nothing half-written stays, and errors name file and line."""

from __future__ import annotations

import gzip
import json
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

from limrank_ir.errors import InputError

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
        raise InputError(f"{path}: cannot write here ({error.strerror}); choose another place") from error
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
        (line number from 1, line without its line end). A byte-order mark at the start is dropped.

    Raises:
        InputError: missing or unreadable file, bytes that are not UTF-8, or gzip data that is cut short.
    """
    number = 0
    try:
        opened = gzip.open if str(path).endswith(".gz") else open
        with opened(path, "rb") as file:
            for raw in file:
                number += 1
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.rstrip("\r\n")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: not UTF-8 (byte {error.object[error.start]:#04x}); convert the file to UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: gzip data broken or cut short after line {number}; get the file again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error


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
    try:
        value = json.loads(line, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place}: malformed JSON ({error.msg}, column {error.colno}); write one JSON object a line"
        ) from error
    except RecursionError as error:
        raise InputError(f"{place}: malformed JSON (nested too deep); write one JSON object a line") from error
    if not isinstance(value, dict):
        raise InputError(f"{place}: JSON, but not an object; write one JSON object a line")
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
        try:
            whole = json.loads("\n".join(line for _, line in lines(path)))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: malformed JSON ({error.msg}); write a list of objects") from error
        if not whole:
            raise InputError(f"{path}: holds no rows; check how it was made")
        found: Iterator[tuple[str, Any]] = ((f"{path}: row {number}", row) for number, row in enumerate(whole, 1))
    else:
        found = ((place, _parsed(place, line)) for place, line in stream)
    for place, row in found:
        if not isinstance(row, dict):
            raise InputError(f"{place}: JSON, but not an object; write one object a row")
        yield place, row


def _parsed(place: str, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place}: malformed JSON ({error.msg}, column {error.colno}); write one object a line"
        ) from error


def json_text(place: str, record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    r"""Take the text that a JSON record holds under the first of several keys.

    Args:
        place: where the record stands, for the error message.
        record: a record of :func:`json_object`.
        keys: the keys to try, in order; null counts as missing.

    Returns:
        The text, or None if no key is there.

    Raises:
        InputError: the value is not text, or holds half a surrogate pair (``"\ud83d"``), which no file can store.
    """
    key = next((key for key in keys if record.get(key) is not None), None)
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


def tsv_columns(place: str, line: str, layout: str) -> list[str]:
    """Split a line of two or three columns at its tabs; quotes and other blanks are text.

    Args:
        place: where the line stands, for the error message.
        line: the line.
        layout: how such a line should look, for the error message.

    Returns:
        The two or three columns.

    Raises:
        InputError: another number of columns.
    """
    columns = line.split("\t")
    if len(columns) not in (2, 3):
        raise InputError(f"{place}: {len(columns)} tab-separated columns, not 2 or 3; write {layout!r}")
    return columns
