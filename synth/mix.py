"""Mix rows, as for LimRank's training: 14,000 Rank1 rows from MS MARCO and 6,000 synthetic ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_records

from .records import AlpacaRow

COLUMNS = ("instruction", "input", "output")


def mix(sources: Sequence[tuple[Sequence[AlpacaRow], int]], *, seed: int) -> list[AlpacaRow]:
    """Draw rows from several sources and shuffle them together.

    Args:
        sources: rows, and how many of them to draw. What is drawn from one source does not depend on the others.
        seed: the random seed.

    Returns:
        The rows. Rows that are equal in two sources are kept twice.

    Raises:
        InputError: a source has too few rows.
    """
    drawn: list[AlpacaRow] = []
    for number, (rows, count) in enumerate(sources):
        if len(rows) < count:
            raise InputError(f"source {number + 1}: has {len(rows)} rows, not {count}; ask for fewer")
        drawn += random.Random(f"{seed} {number}").sample(list(rows), count)
    random.Random(seed).shuffle(drawn)
    return drawn


def read_rows(path: Path) -> list[AlpacaRow]:
    """Read rows as alpaca columns.

    Args:
        path: JSON or JSONL with ``instruction``, ``input``, ``output`` (as we and LLaMA-Factory write them), or with
            ``messages`` (one from the user, one from the assistant), another form of ``jhu-clsp/rank1-training-data``.

    Raises:
        InputError: the file cannot be read, or a row has neither.
    """
    return [_row(place, record) for place, record in json_records(path)]


def _row(place: str, record: Mapping[str, Any]) -> AlpacaRow:
    if isinstance(messages := record.get("messages"), list):
        said = {message.get("role"): message.get("content") for message in messages if isinstance(message, dict)}
        asked, answered = said.get("user"), said.get("assistant")
        if isinstance(asked, str) and isinstance(answered, str):
            instruction, _, given = asked.partition("\n")
            return {"instruction": instruction, "input": given, "output": answered}
    found = {column: record.get(column, "") for column in COLUMNS}
    if all(isinstance(value, str) for value in found.values()) and found["instruction"] and found["output"]:
        return found
    raise InputError(f"{place}: neither instruction, input, and output, nor messages of a user and an assistant")
