"""The store: verdicts in an SQLite file, so that nothing is computed twice and nothing that was computed is lost."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from limrank_ir.errors import EngineError, InputError, LimRankError
from limrank_ir.verdict import Verdict

APPLICATION_ID = 0x4C696D52  # "LimR" in the SQLite header: tells a store from any other database
LAYOUT = 1
_TABLE = """
    CREATE TABLE verdicts (
        key BLOB PRIMARY KEY,
        log_odds REAL NOT NULL,
        reasoning TEXT,
        prompt_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        finish TEXT NOT NULL,
        cut_tokens INTEGER NOT NULL
    ) WITHOUT ROWID
"""
_COLUMNS = "log_odds, reasoning, prompt_tokens, reasoning_tokens, finish, cut_tokens"
_KEYS_PER_QUERY = 500

PATIENCE = 60.0  # seconds to wait for other processes' writes
_DAMAGED = "move it away, and a new one is begun"
_DAMAGE = (EngineError, f"the store is damaged; {_DAMAGED}")
_TOLD: dict[int, tuple[type[LimRankError], str]] = {
    sqlite3.SQLITE_BUSY: (EngineError, "another process keeps the store locked; wait for it, or give another file"),
    sqlite3.SQLITE_CORRUPT: _DAMAGE,
    sqlite3.SQLITE_NOTADB: _DAMAGE,
    sqlite3.SQLITE_FULL: (EngineError, "no space is left for the store; make room, or give a file somewhere else"),
    sqlite3.SQLITE_READONLY: (InputError, "the store cannot be written; check the file's permissions, or give another"),
    sqlite3.SQLITE_CANTOPEN: (InputError, "the store cannot be opened; check the file's permissions, or give another"),
}


def key(*parts: str) -> bytes:
    """Hash everything that changes a verdict into the store's key.

    Args:
        *parts: settings, query, instruction and passage. Their lengths count, so no two lists of parts are alike.

    Returns:
        32 bytes.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


class VerdictStore:
    """Verdicts by key in one SQLite file (WAL); several processes may share it.

    Example:
        >>> store = VerdictStore("verdicts.sqlite")  # doctest: +SKIP
        >>> store.put([(key("settings", "query", "passage"), verdict)])  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a store, or make one.

        Args:
            path: the file; its folder is created, and ``~`` is the home folder.

        Raises:
            InputError: the file is something else, or cannot be read or written here.
            EngineError: it is damaged, or another process does not let go of it. It is left as it was.
        """
        self.path = Path(os.path.expanduser(path))
        self._lock = threading.Lock()
        try:
            _recognize(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() or self.path.stat().st_size == 0:
                _create(self.path)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise InputError(f"{self.path}: cannot be a store ({error.strerror}); choose another place") from error
        except OSError as error:
            raise EngineError(f"{self.path}: cannot be used as a store ({error.strerror or error})") from error
        with self._guarded():
            self._database = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode=rw", uri=True, timeout=PATIENCE, check_same_thread=False
            )
        try:
            with self._guarded():
                (found,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise EngineError(f"{self.path}: the store is damaged ({found.splitlines()[-1]}); {_DAMAGED}")
                self._database.execute(f"SELECT key, {_COLUMNS} FROM verdicts LIMIT 1")
                # Nothing is written, but who cannot write shall know it before the model has read anything.
                self._database.execute("BEGIN IMMEDIATE")
                self._database.rollback()
        except LimRankError:
            self._database.close()
            raise

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """Look up verdicts.

        Args:
            keys: keys made by `key`.

        Returns:
            The verdicts that are known.

        Raises:
            EngineError: the file cannot be read.
        """
        known: dict[bytes, Verdict] = {}
        with self._lock, self._guarded():
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = list(keys[start : start + _KEYS_PER_QUERY])
                marks = ",".join("?" * len(part))
                rows = self._database.execute(f"SELECT key, {_COLUMNS} FROM verdicts WHERE key IN ({marks})", part)
                known.update((row[0], Verdict(*row[1:])) for row in rows)
        return known

    def put(self, verdicts: Iterable[tuple[bytes, Verdict]]) -> None:
        """Keep verdicts; they are on disk when this returns. A key that is there already keeps its verdict.

        Args:
            verdicts: (key, verdict) pairs, committed together.

        Raises:
            EngineError: the file cannot be written, or another process does not let go of it.
        """
        rows = [
            (
                name,
                verdict.log_odds,
                verdict.reasoning,
                verdict.prompt_tokens,
                verdict.reasoning_tokens,
                verdict.finish,
                verdict.cut_tokens,
            )
            for name, verdict in verdicts
        ]
        with self._lock, self._guarded(), self._database:
            self._database.executemany(f"INSERT OR IGNORE INTO verdicts (key, {_COLUMNS}) VALUES (?,?,?,?,?,?,?)", rows)

    def __len__(self) -> int:
        with self._lock, self._guarded():
            return int(self._database.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __repr__(self) -> str:
        return f"VerdictStore({str(self.path)!r})"

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest says more than we need
            kind, told = _TOLD.get(
                code, (EngineError, "the store failed; move it away to begin a new one, or give another file")
            )
            raise kind(f"{self.path}: {told} ({error})") from error


def _recognize(path: Path) -> None:
    """Refuse a file that is no store by its first bytes, before SQLite may touch it."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file for the store")
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(100)
    is_sqlite = len(header) == 100 and header.startswith(b"SQLite format 3\0")
    if not is_sqlite or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise InputError(f"{path}: is not a LimRank store; give another file (this one is left as it is)")
    layout = int.from_bytes(header[60:64], "big")
    if layout != LAYOUT:
        raise InputError(f"{path}: is a store of layout {layout}, this version reads {LAYOUT}; give another file")


def _create(path: Path) -> None:
    """Make an empty store beside `path` and give it that name, unless another process was faster."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        with sqlite3.connect(name) as database:
            database.execute(f"PRAGMA application_id={APPLICATION_ID}")
            database.execute(f"PRAGMA user_version={LAYOUT}")
            database.execute(_TABLE)
        database.execute("PRAGMA journal_mode=WAL")
        database.close()
        if path.exists() and path.stat().st_size == 0:
            os.replace(name, path)
        else:
            os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink(missing_ok=True)
