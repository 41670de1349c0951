"""The run card: what someone needs to know to make a result again, beside every result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
) -> dict[str, Any]:
    """Describe a run.

    Args:
        settings: the benchmark's options, by name.
        data: what was measured on, to a hash of its content or a pinned revision.
        systems: what was measured.
        device: the requested device, or None.

    Returns:
        ``environment`` (command, versions, hardware), ``settings``, ``data``, and ``systems`` (label to identity,
        content hash of the adapter, fusion weight).
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
            }
            for system in systems
        },
    }


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card beside the results.

    Args:
        folder: the folder of the results.
        card: what `run_card` returned; a benchmark may add to it.
    """
    write_json(folder / CARD, dict(card))
