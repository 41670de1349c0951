"""The journal: every answer of a paid model, on disk before it is used, so that nothing is paid twice."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from limrank_ir.errors import EngineError, InputError
from limrank_ir.llm.answers import usable

APPLICATION_ID = 0x4C696D4A  # "LimJ" in the SQLite header: tells a journal from any other database
_TABLE = """
    CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        answer TEXT NOT NULL
    ) WITHOUT ROWID
"""


def request_key(body: Mapping[str, Any]) -> str:
    """The name of a request: the hash of all that it says.

    Args:
        body: what is posted to ``/chat/completions``.

    Returns:
        32 hexadecimal digits.
    """
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Journal:
    """Requests and their answers in one SQLite file; an answer that is in it survives a crash of the machine.

    Example:
        >>> journal = Journal("answers.sqlite")  # doctest: +SKIP
        >>> journal.put({"model": "m", "messages": []}, {"choices": []})  # doctest: +SKIP
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open a journal, or make one.

        Args:
            path: the file; its folder is created.

        Raises:
            InputError: the file is something else, or cannot be written.
        """
        self.path, self._lock = Path(path), threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise InputError(f"{path}: is a folder; give a file for the journal")
            with self._guarded():
                self._database = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
                (found,) = self._database.execute("PRAGMA application_id").fetchone()
                tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if tables and found != APPLICATION_ID:
                    self._database.close()
                    raise InputError(f"{path}: is no journal; give another file (this one is left as it is)")
                self._database.execute("PRAGMA journal_mode=DELETE")  # one file, whole after every answer
                self._database.execute("PRAGMA synchronous=FULL")
                with self._database:
                    self._database.execute(f"PRAGMA application_id={APPLICATION_ID}")
                    self._database.execute(_TABLE)
        except OSError as error:
            raise EngineError(f"{path}: cannot be used as a journal ({error.strerror or error})") from error

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to a request, or None.

        Args:
            key: of `request_key`.
        """
        with self._lock, self._guarded():
            row = self._database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, body: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
        """Keep an answer; it is on disk when this returns. One that is there already stays, if it can be used.

        Args:
            body: the request.
            answer: what the server said (`limrank_ir.llm.answers.kept`).

        Returns:
            The request's key.
        """
        key = request_key(body)
        row = (key, json.dumps(body), json.dumps(answer))
        with self._lock, self._guarded(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            before = self._database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            if before is None or not usable(json.loads(before[0])):  # older versions kept what was no answer
                self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)
        return key

    def known(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that have an answer."""
        with self._lock, self._guarded():
            there = {key for (key,) in self._database.execute("SELECT key FROM answers")}
        return there & set(keys)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """(request, answer) of everything, in the order of the keys."""
        with self._lock, self._guarded():
            rows = self._database.execute("SELECT request, answer FROM answers ORDER BY key").fetchall()
        for request, answer in rows:
            yield json.loads(request), json.loads(answer)

    def __len__(self) -> int:
        with self._lock, self._guarded():
            return int(self._database.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise EngineError(f"{self.path}: the journal cannot be used ({error}); free it or take another") from error
