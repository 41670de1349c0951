"""The run card: what someone needs to know to make a result again, beside every result."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError

from .energy import Usage
from .environment import command_line, environment
from .folder import write_json
from .systems.system import System

CARD = "card.json"


def run_card(
    *,
    settings: Mapping[str, Any],
    data: Mapping[str, str],
    systems: Sequence[System] = (),
    device: str | None = None,
    usage: Usage | None = None,
) -> dict[str, Any]:
    """Describe a run.

    Args:
        settings: the benchmark's options, by name.
        data: what was measured on, to a hash of its content or a pinned revision (`content_hashes`).
        systems: what was measured.
        device: the requested device, or None.
        usage: what the run took (`limrank_ir.benchmarks.energy.measured`).

    Returns:
        ``environment`` (command, commit, versions, hardware), ``settings``, ``data``, ``systems`` (label to identity,
        content hash of the adapter, fusion weight, what it reads of a topic), and ``usage`` (start, seconds, energy),
        or None.

    Example:
        >>> with measured() as usage:  # doctest: +SKIP
        ...     results = run()
        >>> write_card(output, run_card(settings={"-k": 100}, data=content_hashes([qrels]), usage=usage))
        ... # doctest: +SKIP
    """
    return {
        "environment": environment(command_line(), device),
        "settings": dict(settings),
        "data": dict(data),
        "systems": {
            system.label: {
                "name": system.name,
                "identity": system.identity,
                "adapter_hash": system.adapter,
                "fusion_weight": system.weight,
                "reads": system.reads,
            }
            for system in systems
        },
        "usage": None if usage is None else dataclasses.asdict(usage),
    }


def content_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Hash files, for the card's ``data``.

    Args:
        files: the files.

    Returns:
        Each file as given, to ``sha256:`` and the hash of its bytes.

    Raises:
        InputError: a file cannot be read.
    """
    hashes = {}
    for file in files:
        try:
            with open(file, "rb") as stream:
                hashes[str(file)] = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    return hashes


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card beside the results.

    Args:
        folder: the folder of the results.
        card: what `run_card` returned; a benchmark may add to it.
    """
    write_json(folder / CARD, dict(card))
