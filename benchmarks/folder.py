"""The output folder of a benchmark: what it was made with, what a second call resumes from, and JSON files in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing

log = logging.getLogger("limrank_ir")

SETTINGS = "settings.json"


def claim(output: Path, protocol: Mapping[str, Any]) -> Path:
    """Use a folder for results of these settings only, so that those of two protocols never mix.

    Args:
        output: the folder of the results; created if it does not exist.
        protocol: option, as the user types it, to its value; what must be the same for all results in the folder.

    Returns:
        ``output/work``, for what a second call resumes from. Git ignores it.

    Raises:
        InputError: the folder has results of other settings.

    Example:
        >>> claim(Path("results"), {"-k": 100}).as_posix()  # doctest: +SKIP
        'results/work'
    """
    work = output / "work"
    saved = work / SETTINGS
    if saved.exists():
        before = read_json(saved)
        for name, value in protocol.items():
            if before.get(name) != value:
                raise InputError(
                    f"{output}: its results were made {_with(name, before.get(name))}, not {_with(name, value)}; "
                    "give another --output, or remove this folder"
                )
    write_json(saved, dict(protocol))
    with replacing(output / ".gitignore") as file:
        file.write("work/\n")
    return work


def _with(option: str, value: object) -> str:
    return f"without {option}" if value is None else f"with {option} {value}"


def read_json(file: Path) -> Any:
    """Read a file that an earlier call wrote.

    Args:
        file: the file.

    Returns:
        What is in it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); remove it to have it made again") from error


def saved_record(file: Path, key: Mapping[str, Any], runs: Iterable[Path]) -> Any | None:
    """What an earlier call measured, if it still holds.

    Args:
        file: the record, an object with a ``key``.
        key: what the figures depend on; a record with another one does not hold, which is logged.
        runs: files that belong to the record.

    Returns:
        The record; None if there is none, its key differs, or a file is missing.

    Raises:
        InputError: the record cannot be read.
    """
    if not file.exists():
        return None
    record = read_json(file)
    if changed := [name for name in key if record["key"].get(name) != key[name]]:
        log.warning("%s: measured again, because these changed: %s", file, ", ".join(changed))
        return None
    return record if all(run.exists() for run in runs) else None


def write_json(file: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        file: the file.
        value: what to write.

    Raises:
        InputError: it cannot be written.
    """
    with replacing(file) as stream:
        json.dump(value, stream, ensure_ascii=False, indent=1)
        stream.write("\n")
