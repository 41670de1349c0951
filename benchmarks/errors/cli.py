"""The command ``limrank bench errors``."""

from __future__ import annotations


def errors() -> None:
    """Where reranking helped and hurt most, query by query."""
    raise NotImplementedError  # TEMPORARY
