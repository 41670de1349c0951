"""Our SQLite files: recognized before SQLite opens them, created atomically, with errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from limrank_ir.errors import EngineError, InputError, LimRankError

LOCK_TIMEOUT = 60.0  # seconds to wait for writes of other processes


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: its name in messages.
        application_id: the id in the SQLite header that distinguishes it from other databases.
        layout: the version of the tables, stored as ``user_version`` in the header.
        tables: the statements that create its tables, one each.
        probe: a query that fails if a table is wrong.
        mode: ``"wal"`` for many readers and writers, ``"delete"`` for a single file without companions.
        upgrades: an older layout to the statement that makes the next one of it.
    """

    name: str
    application_id: int
    layout: int
    tables: tuple[str, ...]
    probe: str
    mode: Literal["wal", "delete"]
    upgrades: Mapping[int, str] = field(default_factory=dict)


def connect(path: Path, kind: Kind) -> sqlite3.Connection:
    """Open a file, or create it.

    Args:
        path: the file; its folder is created.
        kind: the kind it must have.

    Returns:
        A connection that threads may share, one at a time.

    Raises:
        InputError: the file is something else, or cannot be read or written.
        EngineError: it is damaged, or another process keeps it locked. It is left unchanged.
    """
    try:
        _recognize(path, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size == 0:
            _create(path, kind)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{path}: cannot be a {kind.name} ({error.strerror}); choose another place") from error
    except OSError as error:
        raise EngineError(f"{path}: cannot be used as a {kind.name} ({error.strerror or error})") from error
    with explained(path, kind):
        database = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=LOCK_TIMEOUT, check_same_thread=False
        )
    try:
        with explained(path, kind):
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise _damaged(path, kind, found.splitlines()[-1])
            _upgrade(path, database, kind)
            database.execute(kind.probe)
            # Writes nothing, but fails now, not after hours of work, if the file cannot be written.
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except LimRankError:
        database.close()
        raise
    return database


@contextmanager
def explained(path: Path, kind: Kind) -> Iterator[None]:
    """Convert SQLite errors into ours.

    Args:
        path: the file, for the message.
        kind: its kind.

    Raises:
        LimRankError: SQLite failed inside the block.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _failure(path, kind, error) from error


def _failure(path: Path, kind: Kind, error: sqlite3.Error) -> LimRankError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the lowest byte is the primary code
    name = kind.name
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, kind, error)
    if code == sqlite3.SQLITE_READONLY:
        problem = f"the {name} cannot be written; check the file's permissions, or use another file"
        return InputError(f"{path}: {problem} ({error})")
    if code == sqlite3.SQLITE_CANTOPEN:
        problem = f"the {name} cannot be opened; check the file's permissions, or use another file"
        return InputError(f"{path}: {problem} ({error})")
    if code == sqlite3.SQLITE_BUSY:
        problem = f"another process keeps the {name} locked; wait for it, or use another file"
    elif code == sqlite3.SQLITE_FULL:
        problem = f"no space is left for the {name}; free some, or use a file somewhere else"
    else:
        problem = f"the {name} failed; use another file, or move this one away to start a new one"
    return EngineError(f"{path}: {problem} ({error})")


def _damaged(path: Path, kind: Kind, reason: object) -> EngineError:
    return EngineError(f"{path}: the {kind.name} is damaged ({reason}); move it away to start a new one")


def _recognize(path: Path, kind: Kind) -> None:
    """Refuse other files, by their first bytes."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file for the {kind.name}")
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(100)
    is_sqlite = len(header) == 100 and header.startswith(b"SQLite format 3\0")
    if not is_sqlite or int.from_bytes(header[68:72], "big") != kind.application_id:
        raise InputError(f"{path}: is not a LimRank {kind.name} and is left unchanged; use another file")
    layout = int.from_bytes(header[60:64], "big")
    if layout != kind.layout and layout not in kind.upgrades:
        raise _other_layout(path, kind, layout)


def _upgrade(path: Path, database: sqlite3.Connection, kind: Kind) -> None:
    """Bring an older layout up to date.

    SQLite is asked for the layout, because the header in the file may lag behind the write-ahead log.

    Raises:
        InputError: the layout is a newer one.
    """
    while (layout := _layout(database)) in kind.upgrades:
        database.execute("BEGIN IMMEDIATE")
        if _layout(database) == layout:  # otherwise another process was faster
            database.execute(kind.upgrades[layout])
            database.execute(f"PRAGMA user_version={layout + 1}")
        database.commit()
    if layout != kind.layout:
        raise _other_layout(path, kind, layout)


def _layout(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _other_layout(path: Path, kind: Kind, layout: int) -> InputError:
    return InputError(
        f"{path}: is a {kind.name} of layout {layout}, but this version reads {kind.layout}; use another file"
    )


def _create(path: Path, kind: Kind) -> None:
    """Create an empty file next to `path` and rename it to `path`, unless another process was faster."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        with sqlite3.connect(name) as database:
            database.execute(f"PRAGMA application_id={kind.application_id}")
            database.execute(f"PRAGMA user_version={kind.layout}")
            for table in kind.tables:
                database.execute(table)
        database.execute(f"PRAGMA journal_mode={kind.mode}")
        database.close()
        if path.exists() and path.stat().st_size == 0:
            os.replace(name, path)
        else:
            os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink(missing_ok=True)
