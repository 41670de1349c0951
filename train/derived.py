"""Sources that are made from a run's sources: a folder for each, with its rows and what states their license."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing

if TYPE_CHECKING:
    from .config import Data, DataSource

ROWS = "train.jsonl.gz"

Layout: TypeAlias = Literal["listwise", "setwise", "intent"]
"""What pointwise rows are rendered as: whole rankings, or questions about intent (`Data.layout` is "answers")."""


def source_name(path: Path) -> str:
    """A source's name: its file's, or its folder's if the file is called ``train``, as in our sources."""
    stem = path.name.split(".")[0]
    return path.parent.name if stem == "train" else stem


def places(data: Data, folder: Path) -> list[Path]:
    """A folder for each source.

    Args:
        data: the mixture.
        folder: where they are.

    Returns:
        The folders, each with the name of its source.

    Raises:
        InputError: two sources have the same name, or a folder is that of a source.
    """
    found = [folder / source_name(source.path) for source in data.sources]
    read = {source.path.parent.resolve() for source in data.sources}
    if over := next((place for place in found if place.resolve() in read), None):
        raise InputError(f"{over}: is read, and would be overwritten; choose another folder for what is made")
    if twice := {place.name for place in found if found.count(place) > 1}:
        raise InputError(f"two sources are called {sorted(twice)[0]!r}; rename the folder or the file of one of them")
    return found


def write_source(place: Path, rows: Iterable[Mapping[str, Any]], source: DataSource) -> Path:
    """Write the rows of a source that is made from another one, and copy the README.md of that.

    Args:
        place: the folder.
        rows: the rows.
        source: what they are made from.

    Returns:
        The file of rows.

    Raises:
        InputError: the folder cannot be written.
    """
    with replacing(place / ROWS) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    readme = source.path.parent / "README.md"
    if readme.is_file():
        with replacing(place / "README.md") as file:
            file.write(readme.read_text(encoding="utf-8"))
    return place / ROWS
