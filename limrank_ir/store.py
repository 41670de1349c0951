"""The store: verdicts and answers in an SQLite file, so that nothing is asked twice and nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from limrank_ir.formats import sqlite
from limrank_ir.verdict import Attended, Reading, Verdict, Written

Saved: TypeAlias = Reading | Written | Attended
"""What a model said to a question about a set: a reading of labels without a thought, a text, or its attention."""

_COLUMNS = "log_odds, reasoning, prompt_tokens, reasoning_tokens, finish, cut_tokens, label_mass"
_ANSWER_COLUMNS = "text, logprobs, prompt_tokens, written_tokens, finish, cut_tokens"
_KEYS_PER_QUERY = 500
_VERDICTS = """
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
"""
_ANSWERS = """
    CREATE TABLE answers (
        key BLOB PRIMARY KEY,
        text TEXT,
        logprobs TEXT,
        prompt_tokens INTEGER NOT NULL,
        written_tokens INTEGER NOT NULL,
        finish TEXT NOT NULL,
        cut_tokens INTEGER NOT NULL
    ) WITHOUT ROWID
"""
KIND = sqlite.Kind(
    name="store",
    application_id=0x4C696D52,  # "LimR"
    layout=3,
    upgrades={1: "ALTER TABLE verdicts ADD COLUMN label_mass REAL", 2: _ANSWERS},
    tables=(_VERDICTS, _ANSWERS),
    probe=f"SELECT 1 FROM (SELECT key, {_COLUMNS} FROM verdicts), (SELECT key, {_ANSWER_COLUMNS} FROM answers) LIMIT 1",
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
    """Verdicts, and answers about sets of passages, by key in one SQLite file (WAL). Several processes may share it.

    Attributes:
        path: the file.
        keeps_texts: whether what a model wrote is saved.

    Example:
        >>> store = VerdictStore("verdicts.sqlite")  # doctest: +SKIP
        >>> store.put([(key("settings", "query", "passage"), verdict)])  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], *, thoughts: bool = True) -> None:
        """Open a store, or create it.

        Args:
            path: the file. Its folder is created if necessary, and ``~`` is the home folder.
            thoughts: whether to save what a model wrote, which repeats parts of queries and passages. Without it, the
                file has only hashes and numbers, as data that must not be copied needs: verdicts without their
                reasoning, and readings, but no written answers, for which an interrupted run asks again.

        Raises:
            InputError: the file is not a store, or cannot be read or written.
            EngineError: it is damaged, or another process keeps it locked. It is left unchanged.
        """
        self.path = Path(os.path.expanduser(path))
        self.keeps_texts = thoughts
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
        return {name: Verdict(*values) for name, *values in self._rows(f"SELECT key, {_COLUMNS} FROM verdicts", keys)}

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
                verdict.reasoning if self.keeps_texts else None,
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

    def get_answers(self, keys: Sequence[bytes]) -> dict[bytes, Saved]:
        """Look up answers about sets.

        Args:
            keys: keys made by `key`.

        Returns:
            The answers to those that are in the store.

        Raises:
            EngineError: the file cannot be read.
        """
        known: dict[bytes, Saved] = {}
        rows = self._rows(f"SELECT key, {_ANSWER_COLUMNS} FROM answers", keys)
        for name, text, logprobs, prompt, written, finish, cut in rows:
            if finish == "attention":  # its scores share the column of numbers
                known[name] = Attended(tuple(json.loads(logprobs)), prompt, cut)
            elif logprobs is None:
                known[name] = Written(text, prompt, written, finish, cut)
            else:
                known[name] = Reading(tuple(json.loads(logprobs)), None, prompt, written, finish, cut)
        return known

    def put_answers(self, answers: Iterable[tuple[bytes, Saved]]) -> None:
        """Save answers about sets, as `put` saves verdicts. Texts are left out without `keeps_texts`.

        Args:
            answers: (key, answer) pairs, committed together.

        Raises:
            InputError: the file cannot be written.
            EngineError: the disk is full, or another process keeps the file locked.
        """
        rows = [(name, *_values(answer)) for name, answer in answers if self.keeps(answer)]
        with self._lock, sqlite.explained(self.path, KIND), self._database:
            self._database.executemany(
                f"INSERT OR IGNORE INTO answers (key, {_ANSWER_COLUMNS}) VALUES (?,?,?,?,?,?,?)", rows
            )

    def keeps(self, answer: Saved) -> bool:
        """Whether an answer is saved: written ones are texts (`keeps_texts`)."""
        return self.keeps_texts or not isinstance(answer, Written)

    def _rows(self, select: str, keys: Sequence[bytes]) -> Iterator[Any]:
        """The rows of a table that have these keys."""
        with self._lock, sqlite.explained(self.path, KIND):
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = list(keys[start : start + _KEYS_PER_QUERY])
                yield from self._database.execute(f"{select} WHERE key IN ({','.join('?' * len(part))})", part)

    def __len__(self) -> int:
        """The number of verdicts."""
        with self._lock, sqlite.explained(self.path, KIND):
            return int(self._database.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __repr__(self) -> str:
        return f"VerdictStore({str(self.path)!r})"


def _values(answer: Saved) -> tuple[Any, ...]:
    """The columns of an answer. JSON gives back the same numbers."""
    if isinstance(answer, Written):
        return answer.text, None, answer.prompt_tokens, answer.written_tokens, answer.finish, answer.cut_tokens
    if isinstance(answer, Attended):
        return None, json.dumps(answer.scores), answer.prompt_tokens, 0, answer.finish, answer.cut_tokens
    logprobs = json.dumps(answer.logprobs)
    return None, logprobs, answer.prompt_tokens, answer.reasoning_tokens, answer.finish, answer.cut_tokens
