"""The teachers' scores, each computed once and saved: in one SQLite file, which several runs may share.

A score is found by its teacher's content, the query with its instruction, and the passage. They are saved in pieces, so
that little is lost if the scoring is stopped; the next run goes on. BM25 is computed again each time: it depends on all
passages of a source, and takes a second.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from limrank_ir.cli import console
from limrank_ir.errors import EngineError
from limrank_ir.formats import sqlite
from limrank_ir.store import key

from ..rows import Group
from .bm25 import bm25_scores
from .models import BM25, load_scorer, teacher_identity

Rows = list[list[float]]
"""A score for each passage of each group."""

FILE = "teacher-scores.sqlite"
PIECE = 32  # groups that are scored and saved at a time
_KEYS_PER_QUERY = 500
_KIND = sqlite.Kind(
    name="file of teachers' scores",
    application_id=0x4C695465,  # "LiTe"
    layout=1,
    tables=("CREATE TABLE scores (key BLOB PRIMARY KEY, score REAL NOT NULL) WITHOUT ROWID",),
    probe="SELECT key, score FROM scores LIMIT 1",
    mode="delete",
)


def save_scores(teachers: Iterable[str], groups: Sequence[Group], cache: Path) -> None:
    """Compute and save the scores that are not saved yet.

    Args:
        teachers: their names (`limrank_ir.train.config.Data.teacher`).
        groups: what to score.
        cache: the folder of the file.

    Raises:
        InputError: a teacher is not available, or the file cannot be written.
        EngineError: a teacher gave a score that is not a number, or the file is damaged.
    """
    with closing(sqlite.connect(cache / FILE, _KIND)) as database:
        for teacher in teachers:
            if teacher == BM25:
                continue
            identity = teacher_identity(teacher)
            new = _new(groups, identity, _saved(database, (k for g in groups for k in _keys(g, identity))))
            if not new:
                continue
            score = load_scorer(teacher)
            total = sum(len(group.candidates) for group in new)
            with console.progress(f"scoring with the teacher {teacher}", total, "pairs") as advance:
                for start in range(0, len(new), PIECE):
                    piece = new[start : start + PIECE]
                    found = _checked(dict(_keyed(piece, score(piece), identity)), teacher)
                    with database:
                        database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", found.items())
                    advance(len(found))


def known_scores(teachers: Iterable[str], groups: Sequence[Group], cache: Path) -> dict[str, Rows]:
    """Look up scores; no model is loaded.

    Args:
        teachers: their names.
        groups: the groups of one source.
        cache: the folder of the file.

    Returns:
        For each teacher that has scored all of the groups, its scores.

    Raises:
        InputError: a teacher that must be on this machine is not.
        EngineError: the file is damaged.
    """
    found: dict[str, Rows] = {}
    for teacher in teachers:
        if teacher == BM25:
            found[teacher] = bm25_scores(groups)
            continue
        keys = [_keys(group, identity) for identity in [teacher_identity(teacher)] for group in groups]
        saved: dict[bytes, float] = {}
        if (cache / FILE).exists():
            with closing(sqlite.connect(cache / FILE, _KIND)) as database:
                saved = _saved(database, (each for row in keys for each in row))
        if all(each in saved for row in keys for each in row):
            found[teacher] = [[saved[each] for each in row] for row in keys]
    return found


def _keys(group: Group, identity: str) -> list[bytes]:
    return [key(identity, group.query, group.instruction or "", candidate.text) for candidate in group.candidates]


def _keyed(groups: Sequence[Group], rows: Rows, identity: str) -> Iterator[tuple[bytes, float]]:
    for group, row in zip(groups, rows, strict=True):
        yield from zip(_keys(group, identity), (round(score, 5) for score in row), strict=True)


def _new(groups: Sequence[Group], identity: str, saved: dict[bytes, float]) -> list[Group]:
    """The groups with only the passages that have no score, each pair once."""
    new, listed = [], set(saved)
    for group in groups:
        pairs = dict(zip(_keys(group, identity), group.candidates, strict=True))
        if missing := tuple(candidate for each, candidate in pairs.items() if each not in listed):
            new.append(replace(group, candidates=missing))
        listed |= pairs.keys()
    return new


def _saved(database: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, float]:
    wanted = list(dict.fromkeys(keys))
    found: dict[bytes, float] = {}
    for start in range(0, len(wanted), _KEYS_PER_QUERY):
        some = wanted[start : start + _KEYS_PER_QUERY]
        places = ",".join("?" * len(some))
        found |= dict(database.execute(f"SELECT key, score FROM scores WHERE key IN ({places})", some))
    return found


def _checked(scores: dict[bytes, float], teacher: str) -> dict[bytes, float]:
    if not all(map(math.isfinite, scores.values())):
        raise EngineError(f"the teacher {teacher} gave a score that is not a number; use float32, or another teacher")
    return scores
