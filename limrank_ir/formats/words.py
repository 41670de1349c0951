"""Numbers and names in messages."""

from __future__ import annotations

from collections.abc import Sequence

FEW = 25  # queries; means over fewer need a note


def duration(seconds: float) -> str:
    """Format a duration: ``0.4 s``, ``12 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a message."""
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def few(queries: int) -> str:
    """A note for means over few queries; empty if there are enough."""
    if queries >= FEW:
        return ""
    count = "1 query is" if queries == 1 else f"{queries} queries are"
    return f"{count} an example, not a measurement: differences and percentages may be chance."
