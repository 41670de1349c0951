"""The command ``limrank bench ablate``."""

from __future__ import annotations


def ablate() -> None:
    """Ablations: train and measure variants, with error bars over seeds."""
    raise NotImplementedError  # TEMPORARY
