"""Where the data of a task are: files in a local folder, or downloaded from the hub at the pinned revision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from limrank_ir.errors import InputError

from ..parquet import from_hub
from .versions import Version

_SHARD = re.compile(r"-(\d+)-of-(\d+)\.parquet")


def task_folder(version: Version, task: str, folder: Path | None, configurations: Sequence[str]) -> tuple[Path, str]:
    """Find the folder that holds a task's configurations.

    Args:
        version: the version of BRIGHT.
        task: the task.
        folder: a local copy of the data set, or None for the hub. For BRIGHT-Pro, the folder has one data set for each
            task, named like the task or like the data set on the hub (``BrightProBiologyRetrieval``).
        configurations: what is read, such as ``examples`` and ``documents``. Only this is downloaded.

    Returns:
        The folder, and what to call it in reports: its path, or the data set and its revision.

    Raises:
        InputError: it is not there, or not on this machine and cannot be downloaded.
    """
    repository, revision = version.sources[task]
    if folder is None:
        return _from_hub(repository, revision, task, configurations, version), f"{repository}@{revision}"
    if not folder.is_dir():
        raise InputError(f"--data {folder}: no such folder; give a copy of the data set {repository}")
    if version.layout == "bright":
        return folder, str(folder)
    for name in (task, repository.rpartition("/")[2]):
        if (folder / name).is_dir():
            return folder / name, str(folder / name)
    raise InputError(
        f"--data {folder}: has neither {task}/ nor {repository.rpartition('/')[2]}/, so {task} is missing; "
        f"add it, or leave it out with --tasks"
    )


def shards(folder: Path, configuration: str, version: Version, task: str) -> list[Path]:
    """The Parquet files of one configuration of a task.

    Args:
        folder: from `task_folder`.
        configuration: such as ``documents``.
        version: the version, which decides the layout.
        task: the task.

    Returns:
        The files in order.

    Raises:
        InputError: there is none, or not all.

    Example:
        ``documents/leetcode-00000-of-00002.parquet`` and ``documents/leetcode-00001-of-00002.parquet``.
    """
    inside = folder / configuration
    stem = task if version.layout == "bright" else ""
    found = sorted(inside.glob(f"{stem}-*.parquet" if stem else "*.parquet"))
    if not found and stem and (inside / f"{stem}.parquet").is_file():
        found = [inside / f"{stem}.parquet"]
    if not found:
        have = sorted({path.name.split("-0")[0] for path in inside.glob("*.parquet")})
        others = f" (it has {', '.join(have)})" if have else ""
        raise InputError(
            f"{inside}: no Parquet file for {task}{others}; add {configuration}/{stem or 'data'}-*.parquet of the data "
            "set, or leave the task out with --tasks"
        )
    counts = {int(match[2]) for path in found if (match := _SHARD.search(path.name))}
    if counts and (len(counts) > 1 or len(found) != counts.pop()):
        raise InputError(
            f"{inside}: {len(found)} files for {task} ({found[0].name}, ...), which are not all its shards; "
            "copy the folder again"
        )
    return found


def _from_hub(repository: str, revision: str, task: str, configurations: Sequence[str], version: Version) -> Path:
    stem = f"{task}-" if version.layout == "bright" else ""
    name = Path(repository.rpartition("/")[2])
    return from_hub(
        repository,
        revision,
        [f"{configuration}/{stem}*.parquet" for configuration in configurations],
        what=f"{' and '.join(configurations)} of {task}",
        place=name if version.layout == "bright" else "BRIGHT-Pro" / name,
    )
