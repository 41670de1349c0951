"""Reading and writing files safely: nothing half-written stays, and errors name file and line."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from limrank_ir.errors import LimRankError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text file for writing beside ``path``; it takes that name only when the block ends without an error.

    Args:
        path: the file to write or replace; gzip-compressed when the name ends in ``.gz``. Its folder is created.

    Yields:
        The open UTF-8 text file.

    Raises:
        LimRankError: the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise LimRankError(f"{target}: cannot write here ({error.strerror}); choose another place") from error
    os.close(handle)
    temporary = Path(name)
    try:
        opened = gzip.open if target.name.endswith(".gz") else open
        with opened(temporary, "wt", encoding="utf-8", newline="\n") as file:
            yield file  # type: ignore[misc]
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; a result file is an ordinary one
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Stream the lines of a UTF-8 text file, plain or ``.gz``.

    Args:
        path: the file.

    Yields:
        (line number from 1, line without its line end). A byte-order mark at the start is dropped.

    Raises:
        LimRankError: missing or unreadable file, bytes that are not UTF-8, or gzip data that is cut short.
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
        raise LimRankError(f"{path}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        raise LimRankError(
            f"{path}:{number}: not UTF-8 (byte {error.object[error.start]:#04x}); convert the file to UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LimRankError(f"{path}: gzip data broken or cut short after line {number}; get the file again") from error
    except OSError as error:
        raise LimRankError(f"{path}: cannot be read ({error.strerror or error})") from error
