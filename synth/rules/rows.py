"""The rows that rules read and write: groups of a query, relevant passages, and others."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_records, json_text, need_json_text


@dataclass(frozen=True)
class Row:
    """A row of a source.

    Attributes:
        qid: its id in the source.
        query: the query.
        pos: the relevant passages.
        neg: the other passages.
        instruction: what counts as relevant, or None.
        source: the name of the source.
        license: its license.
    """

    qid: str
    query: str
    pos: tuple[str, ...]
    neg: tuple[str, ...]
    instruction: str | None
    source: str
    license: str

    def made(self, rule: str, kind: str, pos: Iterable[str], neg: Iterable[str], **changes: str) -> dict[str, Any]:
        """A row that a rule makes from this one.

        Args:
            rule: the rule, which its id begins with.
            kind: what is wrong with the negatives.
            pos: its relevant passages.
            neg: its other passages.
            **changes: another `query` or `instruction`.
        """
        row: dict[str, Any] = {"qid": f"{rule}-{self.qid}", "query": self.query}
        if self.instruction:
            row["instruction"] = self.instruction
        row.update(changes)
        return row | {
            "pos": list(pos),
            "neg": list(neg),
            "source": self.source,
            "license": self.license,
            "neg_kind": f"{rule}: {kind}",
        }

    def random(self, seed: int) -> random.Random:
        """The random generator of this row, so that other rows do not change what is made from it."""
        return random.Random(f"{seed} {self.source} {self.qid}")


@dataclass(frozen=True)
class Source:
    """The rows of one file."""

    rows: tuple[Row, ...]

    @cached_property
    def passages(self) -> tuple[str, ...]:
        """All different passages, in order."""
        return tuple(dict.fromkeys(text for row in self.rows for text in (*row.pos, *row.neg)))


def read_source(path: Path) -> Source:
    """Read a file of rows in the groups layout of `limrank train`.

    Args:
        path: JSONL, plain or ``.gz``.

    Raises:
        InputError: it cannot be read, or a row has no query, passages, or license.
    """
    return Source(tuple(_row(place, record, path) for place, record in json_records(path)))


def _row(place: str, record: Mapping[str, Any], path: Path) -> Row:
    query = need_json_text(place, record, ["query"])
    license = json_text(place, record, ["license"]) or json_text(place, record, ["licence"])
    if not license:
        raise InputError(f"{place}: no license; rows that are made from it need one, so add a column 'license'")
    passages = []
    for column in ("pos", "neg"):
        texts = record.get(column)
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
            raise InputError(f"{place}: {column!r} must be a list of passages that are not empty")
        passages.append(tuple(texts))
    if not passages[0]:
        raise InputError(f"{place}: 'pos' is empty; rows are made from a relevant passage, so remove this one")
    qid = str(record.get("qid") or hashlib.sha256(query.encode()).hexdigest()[:12])
    source = json_text(place, record, ["source"]) or path.parent.name
    return Row(qid, query, passages[0], passages[1], json_text(place, record, ["instruction"]) or None, source, license)
