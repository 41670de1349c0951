"""Tags of runs: TREC's tracks want them short."""

from __future__ import annotations

import hashlib
import re

LONGEST = 20


def run_tag(*parts: str) -> str:
    """Make a tag of at most 20 letters, digits, dots, hyphens, and underscores, as TREC's tracks ask for.

    Args:
        parts: such as a system's name and ``fused``; at least one.

    Returns:
        The parts with hyphens between them. What is longer is cut, and ends in four digits of its hash, so that two
        systems keep different tags.

    Example:
        >>> run_tag("limrank-smol", "fused")
        'limrank-smol-fused'
        >>> run_tag("limrank-smol+train/out/adapter", "fused")
        'limrank-smol-tr-e878'
    """
    whole = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts))
    if len(whole) <= LONGEST:
        return whole
    digits = hashlib.sha256("-".join(parts).encode()).hexdigest()[:4]
    return f"{whole[: LONGEST - 5]}-{digits}"
