"""Parquet files of data sets: from the hub at a pinned revision, or from a folder; streamed, some columns only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError

ROWS = 1024  # rows that are in memory at once
_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


def from_hub(
    repository: str, revision: str, patterns: Sequence[str], *, what: str = "", place: Path | None = None
) -> Path:
    """Get files of a data set from the hub, or from its cache if they are there.

    Args:
        repository: such as ``princeton-nlp/LitSearch``.
        revision: the pinned commit.
        patterns: which files, such as ``query/*.parquet``.
        what: what is wanted, for the error; empty: the data set.
        place: the folder that the error tells to download into; its first part is what ``--data`` takes then. None: the
            data set's name.

    Returns:
        The data set's folder. If nothing can be downloaded, it is the cache, which may lack some of the files.

    Raises:
        InputError: they are not in the cache and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    place = place or Path(repository.rpartition("/")[2])
    missing = (
        f"where there is a network, run `hf download {repository} --repo-type dataset --revision {revision} "
        f"--local-dir {place}`, and give --data {place.parts[0]}"
    )
    wanted = f"{repository}: {what or 'the data set'}"
    try:
        folder = Path(
            snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=list(patterns))
        )
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{wanted}: not on this machine, and downloading failed ({_line(error)}); {missing}"
        ) from error
    for pattern in patterns:
        if not any(folder.glob(pattern)):
            raise InputError(f"{wanted}: the copy in the hub's cache has no {pattern}; {missing}")
    return folder


def shards(folder: Path, configuration: str) -> list[Path]:
    """The Parquet files of a configuration, all of them.

    Args:
        folder: the data set.
        configuration: the folder in it.

    Returns:
        The files in order.

    Raises:
        InputError: there are none, or one is missing by the names of the others (``full-00000-of-00006.parquet``).
    """
    files = sorted((folder / configuration).glob("*.parquet"))
    if not files:
        raise InputError(f"{folder}: no {configuration}/*.parquet; give the data set's folder as it is on the hub")
    found: dict[str, set[int]] = {}
    for file in files:
        if match := _SHARD.fullmatch(file.name):
            found.setdefault(f"{match['name']} of {int(match['count'])}", set()).add(int(match["number"]))
    for name, numbers in found.items():
        count = int(name.rpartition(" ")[2])
        if missing := sorted(set(range(count)) - numbers):
            raise InputError(
                f"{folder / configuration}: {len(missing)} of {count} files are missing (number {missing[0]:05}, "
                "...); download the rest"
            )
    return files


def stream(file: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Stream rows. Other columns, such as a paper's full text, are not read.

    Args:
        file: a Parquet file.
        columns: the columns to read.

    Yields:
        Column to value.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    import pyarrow
    import pyarrow.parquet

    has = column_names(file)
    if missing := [name for name in columns if name not in has]:
        raise InputError(f"{file}: no column {' or '.join(missing)} (it has {', '.join(has)}); wrong file?")
    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(ROWS, columns=list(columns)):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file}: cannot be read ({_line(error)}); copy it again") from error


def column_names(file: Path) -> list[str]:
    """The names of a Parquet file's columns.

    Args:
        file: the file.

    Returns:
        The names in order.

    Raises:
        InputError: it is not a Parquet file.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(file).names)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file}: not a Parquet file ({_line(error)}); copy it again") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
