"""SFT on the verdict alone: cross-entropy of the label token over the whole vocabulary."""

from __future__ import annotations

import torch

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """``-log p(label | prompt with an empty thought)``, averaged over each group's passages, ``[groups]``."""
    return verdicts.mean(verdicts.label_loss)
