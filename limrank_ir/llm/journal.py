"""The journal: every answer of a paid model, saved before it is used, so that nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.formats import sqlite
from limrank_ir.llm.answers import usable

KIND = sqlite.Kind(
    name="journal",
    application_id=0x4C696D4A,  # "LimJ"
    layout=1,
    tables=(
        """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        answer TEXT NOT NULL,
        server TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID
""",
    ),
    probe="SELECT key, request, answer, server FROM answers LIMIT 1",
    mode="delete",  # a single file, complete after every answer
    upgrades={0: "ALTER TABLE answers ADD COLUMN server TEXT NOT NULL DEFAULT ''"},
)
_PAGE = 256  # answers in memory at once


def request_key(body: Mapping[str, Any]) -> str:
    """The key of a request: a hash of its content.

    Args:
        body: the body for ``/chat/completions``.

    Returns:
        32 hexadecimal digits.
    """
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return _hash(text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _row_key(key: str, server: str) -> str:
    return _hash(f"{server}\n{key}") if server else key


class Answered(NamedTuple):
    """A request with its answer, and the server that answered; "": not stated, so that it counts for any server."""

    body: Mapping[str, Any]
    answer: Mapping[str, Any]
    server: str = ""


class Journal:
    """Requests and their answers in a SQLite file. Saved answers survive a crash of the machine.

    Two servers can have different models of one name, so an answer belongs to its server. One without a server (older
    versions did not save it) belongs to all.

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

    def get(self, key: str, server: str = "") -> dict[str, Any] | None:
        """The answer to a request, or None.

        Args:
            key: the key from `request_key`.
            server: the server to be asked, such as `limrank_ir.llm.chat.Server.address`. Its own answer comes before
                one without a server.
        """
        keys = (key, _row_key(key, server))
        with self._lock, sqlite.explained(self.path, KIND):
            rows = dict(self._database.execute("SELECT key, answer FROM answers WHERE key IN (?, ?)", keys))
        found = rows.get(keys[1], rows.get(key))
        return None if found is None else json.loads(found)

    def put(self, body: Mapping[str, Any], answer: Mapping[str, Any], server: str = "") -> str:
        """Save an answer; it is on disk when this returns. An existing answer is kept if it is usable.

        Args:
            body: the request.
            answer: the answer (`limrank_ir.llm.answers.check_answer`).
            server: the server that answered; "": not stated.

        Returns:
            The request's key.
        """
        self.put_all([Answered(body, answer, server)])
        return request_key(body)

    def put_all(self, answered: Iterable[Answered]) -> None:
        """Save answers in one transaction, which is much faster than one by one: all are on disk afterwards, or none.

        Args:
            answered: the answers, as for `put`.
        """
        rows = (
            (_row_key(request_key(body), server), json.dumps(body), json.dumps(answer), server)
            for body, answer, server in answered
        )
        with self._lock, sqlite.explained(self.path, KIND), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for row in rows:
                before = self._database.execute("SELECT answer FROM answers WHERE key = ?", row[:1]).fetchone()
                if before is None or not usable(json.loads(before[0])):  # older versions also saved faults
                    self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)

    def known(self, keys: Collection[str]) -> set[str]:
        """The keys that have an answer without a server."""
        wanted, found = list(keys), set[str]()
        for start in range(0, len(wanted), _PAGE):
            page = wanted[start : start + _PAGE]
            marks = ", ".join("?" * len(page))
            with self._lock, sqlite.explained(self.path, KIND):
                rows = self._database.execute(f"SELECT key FROM answers WHERE key IN ({marks})", page)
                found |= {key for (key,) in rows}
        return found

    def servers(self, model: str) -> dict[str, int]:
        """The servers that answered as a model, and the number of their answers. "": not stated."""
        query = "SELECT server, count(*) FROM answers WHERE json_extract(request, '$.model') = ? GROUP BY server"
        with self._lock, sqlite.explained(self.path, KIND):
            return dict(self._database.execute(query, (model,)).fetchall())

    def __iter__(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """All (request, answer) pairs. Only a few are in memory at once, and no lock is held between them."""
        last = ""
        while True:
            with self._lock, sqlite.explained(self.path, KIND):
                rows = self._database.execute(
                    "SELECT key, request, answer FROM answers WHERE key > ? ORDER BY key LIMIT ?", (last, _PAGE)
                ).fetchall()
            for _, request, answer in rows:
                yield json.loads(request), json.loads(answer)
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def __len__(self) -> int:
        with self._lock, sqlite.explained(self.path, KIND):
            return int(self._database.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()
