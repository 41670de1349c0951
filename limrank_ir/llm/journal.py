"""The journal: every answer of a paid model, saved before it is used, so that nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from limrank_ir.formats import sqlite
from limrank_ir.llm.answers import usable

KIND = sqlite.Kind(
    name="journal",
    application_id=0x4C696D4A,  # "LimJ"
    layout=0,
    table="""
    CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        answer TEXT NOT NULL
    ) WITHOUT ROWID
""",
    probe="SELECT key, request, answer FROM answers LIMIT 1",
    mode="delete",  # a single file, complete after every answer
)


def request_key(body: Mapping[str, Any]) -> str:
    """The key of a request: a hash of its content.

    Args:
        body: the body for ``/chat/completions``.

    Returns:
        32 hexadecimal digits.
    """
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Journal:
    """Requests and their answers in a SQLite file. Saved answers survive a crash of the machine.

    Example:
        >>> journal = Journal("answers.sqlite")  # doctest: +SKIP
        >>> journal.put({"model": "m", "messages": []}, {"choices": []})  # doctest: +SKIP
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open a journal, or create it.

        Args:
            path: the file; its folder is created.

        Raises:
            InputError: the file is something else, or cannot be read or written.
            EngineError: it is damaged, or another process keeps it locked. It is left unchanged.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._database = sqlite.connect(self.path, KIND)
        self._database.execute("PRAGMA synchronous=FULL")

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to a request, or None.

        Args:
            key: the key from `request_key`.
        """
        with self._lock, sqlite.explained(self.path, KIND):
            row = self._database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, body: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
        """Save an answer; it is on disk when this returns. An existing answer is kept if it is usable.

        Args:
            body: the request.
            answer: the answer (`limrank_ir.llm.answers.check_answer`).

        Returns:
            The request's key.
        """
        self.put_all([(body, answer)])
        return request_key(body)

    def put_all(self, answered: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Save answers in one transaction, which is much faster than one by one: all are on disk afterwards, or none.

        Args:
            answered: (request, answer) pairs, as for `put`.
        """
        rows = [(request_key(body), json.dumps(body), json.dumps(answer)) for body, answer in answered]
        with self._lock, sqlite.explained(self.path, KIND), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for row in rows:
                before = self._database.execute("SELECT answer FROM answers WHERE key = ?", row[:1]).fetchone()
                if before is None or not usable(json.loads(before[0])):  # older versions also saved faults
                    self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)

    def known(self, keys: Collection[str]) -> set[str]:
        """The keys that have an answer."""
        with self._lock, sqlite.explained(self.path, KIND):
            saved = {key for (key,) in self._database.execute("SELECT key FROM answers")}
        return saved & set(keys)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """All (request, answer) pairs, ordered by key."""
        with self._lock, sqlite.explained(self.path, KIND):
            rows = self._database.execute("SELECT request, answer FROM answers ORDER BY key").fetchall()
        for request, answer in rows:
            yield json.loads(request), json.loads(answer)

    def __len__(self) -> int:
        with self._lock, sqlite.explained(self.path, KIND):
            return int(self._database.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()
