"""Files of which there is one for each task: runs, judgments, and excluded ids, as projects publish them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from limrank_ir.errors import InputError

Kind = Literal["run", "qrels", "excluded"]
PLACEHOLDER = "{task}"
_NOT_DATA = re.compile(r"^(\.|README|results\.json$)|\.fixed\b", re.IGNORECASE)
# castorini's corrected judgments (*.fixed.txt) give other scores than the published ones: they are named explicitly.


def task_file(option: str, place: Path, task: str, kind: Kind, *, only: bool = False) -> Path | None:
    """Find a task's file.

    - A file: itself.
    - A pattern with ``{task}``: the file of that name, with ``_`` or ``-`` in the task.
    - A folder: the one file whose name, or whose folder's name, holds the task: ``biology.qrels.txt``,
      ``qrels.bright-earth-science.txt``, ``runs/biology/reasonir_gpt4cot_top100.txt`` (ReasonRank),
      ``biology_bm25_long_False/score.json`` (BRIGHT, Rank1).

    Args:
        option: the option that names the place, for messages.
        place: file, pattern, or folder.
        task: the task.
        kind: ``qrels`` and ``excluded`` have that word in their name (castorini's ``exclude.bright-aops.txt``); runs
            have neither.
        only: this task is the only one, so that `place` may be one file.

    Returns:
        The file, or None if a folder has none.

    Raises:
        InputError: there is no such place, it is one file for several tasks, or a folder has several.
    """
    if PLACEHOLDER in str(place):
        for name in (task, task.replace("_", "-")):
            file = Path(str(place).replace(PLACEHOLDER, name))
            if file.is_file():
                return file
        raise InputError(f"{option} {place}: no file {str(place).replace(PLACEHOLDER, task)}; check the pattern")
    if place.is_file():
        if only:
            return place
        raise InputError(
            f"{option} {place}: one file, but there are several tasks; give a folder, or a pattern such as "
            f"'{place.parent / PLACEHOLDER}.txt', or choose the task with --tasks"
        )
    if not place.is_dir():
        raise InputError(f"{option} {place}: no such file or folder; give a folder, a file, or a pattern with {{task}}")
    found = [file for file in sorted((*place.glob("*"), *place.glob("*/*"))) if _fits(file, place, task, kind)]
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(place)) for file in found[:3])
        raise InputError(
            f"{option} {place}: {len(found)} files for {task} ({names}{', ...' if len(found) > 3 else ''}); "
            f"say which with a pattern that has {{task}} in it"
        )
    return found[0] if found else None


def _fits(file: Path, place: Path, task: str, kind: Kind) -> bool:
    if not file.is_file() or _NOT_DATA.search(file.name):
        return False
    name = str(file.relative_to(place)).replace("-", "_")
    if not re.search(rf"(?<![a-zA-Z0-9]){task}(?![a-zA-Z0-9])", name):
        return False
    found: Kind = "qrels" if "qrel" in file.name else "excluded" if "exclude" in file.name else "run"
    return found == kind
