"""The command ``limrank bench litsearch``."""

from __future__ import annotations


def litsearch() -> None:
    """LitSearch: finding the papers that a question of a researcher means."""
    raise NotImplementedError  # TEMPORARY
