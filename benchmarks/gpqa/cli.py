"""The command ``limrank bench gpqa``."""

from __future__ import annotations


def gpqa() -> None:
    """GPQA: what reranked passages are worth to a reader that answers hard questions."""
    raise NotImplementedError  # TEMPORARY
