"""A ranker behind a model's name: ``limrank-smol@setwise:top=10``."""

from __future__ import annotations

from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS

SIGN = "@"  # between model, ranker, and formats


def split_ranker(name: str) -> tuple[str, list[str]]:
    """Split ``MODEL@RANKER@FORMAT``. Paths may contain the sign, too: the longest model that exists wins.

    Args:
        name: a model, which may be ``NAME+ADAPTER``, with or without a ranker and formats of its questions.

    Returns:
        The model; and the ranker and the formats, or nothing.

    Raises:
        InputError: what would be the ranker is a part of a path that does not exist.

    Example:
        >>> split_ranker("limrank-smol@setwise@setwise-numbers")
        ('limrank-smol', ['setwise', 'setwise-numbers'])
    """
    places = [place for place, character in enumerate(name) if character == SIGN]
    for place in [len(name), *reversed(places)]:
        if _exists(name[:place]):
            return name[:place], name[place + 1 :].split(SIGN) if place < len(name) else []
    model, *behind = name.split(SIGN)
    if broken := next((part for part in behind if "/" in part), None):
        raise InputError(
            f"{name}: no such model, and {broken!r} behind {SIGN} is no ranker; check that its paths exist, and that "
            "the folder of an adapter has an adapter_config.json"
        )
    return model, behind


def _exists(name: str) -> bool:
    """Whether a name is that of a model of ours, of a path, or has the folder of an adapter behind a +."""
    if not name or name in MODELS or Path(name).exists():
        return bool(name)
    adapters = (name[place + 1 :] for place, character in enumerate(name) if character == "+")
    return any(Path(adapter, "adapter_config.json").is_file() for adapter in adapters)
