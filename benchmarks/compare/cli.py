"""The command ``limrank bench compare``."""

from __future__ import annotations


def compare() -> None:
    """Compare two runs of the same topics, as a reproduction is compared with the original."""
    raise NotImplementedError  # TEMPORARY
