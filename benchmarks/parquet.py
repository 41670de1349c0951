"""Parquet files of data sets: from the hub at a pinned revision, or from a folder; streamed, some columns only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError

ROWS = 1024  # rows that are in memory at once
_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


def from_hub(repository: str, revision: str, configurations: Sequence[str]) -> Path:
    """Get configurations of a data set from the hub, or from its cache if they are there.

    Args:
        repository: such as ``princeton-nlp/LitSearch``.
        revision: the pinned commit.
        configurations: the folders in it.

    Returns:
        The folder, with a folder for each configuration.

    Raises:
        InputError: they are not in the cache and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository,
                repo_type="dataset",
                revision=revision,
                allow_patterns=[f"{name}/*.parquet" for name in configurations],
            )
        )
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{repository}: not on this machine, and the hub cannot be reached ({_line(error)}); where there is a "
            f"network, run `hf download {repository} --repo-type dataset --revision {revision} --local-dir "
            f"{repository.rpartition('/')[2]}`, and give that folder with --data"
        ) from error


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


def stream(files: Sequence[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Stream rows. Other columns, such as a paper's full text, are not read.

    Args:
        files: Parquet files.
        columns: the columns to read, which each file must have.

    Yields:
        Column to value.

    Raises:
        InputError: a file cannot be read, or lacks a column.
    """
    import pyarrow
    import pyarrow.parquet

    for file in files:
        try:
            parquet = pyarrow.parquet.ParquetFile(file)
            if missing := [name for name in columns if name not in parquet.schema_arrow.names]:
                has = ", ".join(parquet.schema_arrow.names)
                raise InputError(f"{file}: no column {' or '.join(missing)} (it has {has}); wrong file?")
            for batch in parquet.iter_batches(ROWS, columns=list(columns)):
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{file}: cannot be read ({_line(error)}); copy it again") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
