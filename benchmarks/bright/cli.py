"""The command ``limrank bench bright``."""

from __future__ import annotations


def bright() -> None:
    """BRIGHT: reasoning-intensive retrieval, by the official protocol."""
    raise NotImplementedError  # TEMPORARY
