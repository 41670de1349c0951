"""How several passages share the room that a prompt has for them."""

from __future__ import annotations

from collections.abc import Sequence


def shares(lengths: Sequence[int], room: int) -> list[int]:
    """Cut lengths so that they fit, the longest first: no passage gets less than one that is cut, unless it is shorter.

    Args:
        lengths: the length of each passage.
        room: how much all may have together.

    Returns:
        The new length of each.
    """
    kept = [0] * len(lengths)
    left = max(room, 0)
    for number, place in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        kept[place] = min(lengths[place], left // (len(lengths) - number))
        left -= kept[place]
    return kept
