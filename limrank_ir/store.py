"""The store: verdicts in an SQLite file, so that no pair is judged twice and no verdict is lost."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from limrank_ir.formats import sqlite
from limrank_ir.verdict import Verdict

_COLUMNS = "log_odds, reasoning, prompt_tokens, reasoning_tokens, finish, cut_tokens, label_mass"
_KEYS_PER_QUERY = 500
KIND = sqlite.Kind(
    name="store",
    application_id=0x4C696D52,  # "LimR"
    layout=2,
    upgrades={1: "ALTER TABLE verdicts ADD COLUMN label_mass REAL"},
    table="""
    CREATE TABLE verdicts (
        key BLOB PRIMARY KEY,
        log_odds REAL NOT NULL,
        reasoning TEXT,
        prompt_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        finish TEXT NOT NULL,
        cut_tokens INTEGER NOT NULL,
        label_mass REAL
    ) WITHOUT ROWID
""",
    probe=f"SELECT key, {_COLUMNS} FROM verdicts LIMIT 1",
    mode="wal",
)


def key(*parts: str) -> bytes:
    """Hash everything that can change a verdict into a key of the store. `LimRank` decides what that is.

    Args:
        *parts: settings, query, instruction, and passage. Their lengths are hashed, too, so different lists of parts
            have different keys.

    Returns:
        32 bytes.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


class VerdictStore:
    """Verdicts by key in one SQLite file (WAL). Several processes may share it.

    Example:
        >>> store = VerdictStore("verdicts.sqlite")  # doctest: +SKIP
        >>> store.put([(key("settings", "query", "passage"), verdict)])  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], *, thoughts: bool = True) -> None:
        """Open a store, or create it.

        Args:
            path: the file. Its folder is created if necessary, and ``~`` is the home folder.
            thoughts: whether to save reasoning, which repeats parts of queries and passages. Without it, the file has
                only hashes and numbers, as data that must not be copied needs.

        Raises:
            InputError: the file is not a store, or cannot be read or written.
            EngineError: it is damaged, or another process keeps it locked. It is left unchanged.
        """
        self.path = Path(os.path.expanduser(path))
        self._thoughts = thoughts
        self._lock = threading.Lock()
        self._database = sqlite.connect(self.path, KIND)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """Look up verdicts.

        Args:
            keys: keys made by `key`.

        Returns:
            The verdicts of those keys that are in the store.

        Raises:
            EngineError: the file cannot be read.
        """
        known: dict[bytes, Verdict] = {}
        with self._lock, sqlite.explained(self.path, KIND):
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = list(keys[start : start + _KEYS_PER_QUERY])
                marks = ",".join("?" * len(part))
                rows = self._database.execute(f"SELECT key, {_COLUMNS} FROM verdicts WHERE key IN ({marks})", part)
                known.update((row[0], Verdict(*row[1:])) for row in rows)
        return known

    def put(self, verdicts: Iterable[tuple[bytes, Verdict]]) -> None:
        """Save verdicts. They are on disk when this returns. A key that is already in the store keeps its verdict.

        Args:
            verdicts: (key, verdict) pairs, committed together.

        Raises:
            InputError: the file cannot be written.
            EngineError: the disk is full, or another process keeps the file locked.
        """
        rows = [
            (
                name,
                verdict.log_odds,
                verdict.reasoning if self._thoughts else None,
                verdict.prompt_tokens,
                verdict.reasoning_tokens,
                verdict.finish,
                verdict.cut_tokens,
                verdict.label_mass,
            )
            for name, verdict in verdicts
        ]
        with self._lock, sqlite.explained(self.path, KIND), self._database:
            self._database.executemany(
                f"INSERT OR IGNORE INTO verdicts (key, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)", rows
            )

    def __len__(self) -> int:
        with self._lock, sqlite.explained(self.path, KIND):
            return int(self._database.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __repr__(self) -> str:
        return f"VerdictStore({str(self.path)!r})"
