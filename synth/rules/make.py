"""Make the rows of all rules from files of rows, and write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from limrank_ir.formats.files import replacing

from .entities import entities
from .excerpts import excerpts
from .exclusions import exclusions
from .minimal_pairs import minimal_pairs
from .rows import Source, read_source

Rule = Callable[[Source, int], Iterator[dict[str, Any]]]
RULES: dict[str, Rule] = {
    "minimal-pairs": minimal_pairs,
    "entities": entities,
    "exclusions": exclusions,
    "excerpts": excerpts,
}

CARD = """# Rows by rule

Made by `limrank synth rules` (limrank-ir) from rows of other data sets; no model wrote any of this. `neg_kind` names
the rule. Each row states the source and the license of its texts, which holds for what was made from them.

- source: {sources}
- license: {licenses}
"""


def make(files: Sequence[Path], folder: Path, *, count: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Make rows and write a file for each rule, and a README.md with their sources and licenses.

    Args:
        files: files of rows in the groups layout.
        folder: the folder to write.
        count: how many rows of each rule to keep, as equally as possible from each file and kind of negatives.
        seed: what chooses. The same files, count, and seed give the same rows.

    Returns:
        The rows of each rule.

    Raises:
        InputError: a file cannot be read or written, or a row has no license.
    """
    buckets: dict[str, dict[tuple[Path, str], list[dict[str, Any]]]] = {name: {} for name in RULES}
    for path in files:
        given = read_source(path).rows
        source = Source(tuple(sorted(given, key=lambda row: sha256(f"{seed} {row.qid}".encode()).digest())))
        for name, rule in RULES.items():
            for row in islice(rule(source, seed), count):  # more than that is never needed
                buckets[name].setdefault((path, row["neg_kind"]), []).append(row)
    made = {name: _balanced(list(found.values()), count) for name, found in buckets.items()}
    for name, rows in made.items():
        with replacing(folder / f"{name}.jsonl.gz") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    every = [row for rows in made.values() for row in rows]
    stated = {f"{kind}s": "; ".join(sorted({row[kind] for row in every})) or "none" for kind in ("source", "license")}
    with replacing(folder / "README.md") as file:
        file.write(CARD.format(**stated))
    return made


def _balanced(buckets: Sequence[list[dict[str, Any]]], count: int) -> list[dict[str, Any]]:
    """Take rows from each bucket in turn, each id once."""
    once = [list({row["qid"]: row for row in rows}.values()) for rows in buckets]
    turns = [rows[turn] for turn in range(max(map(len, once), default=0)) for rows in once if turn < len(rows)]
    return turns[:count]
