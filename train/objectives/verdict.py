"""SFT on the bare verdict: the label token's cross-entropy over the whole vocabulary."""

from __future__ import annotations

import torch

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """``-log p(label | prompt with an empty thought)``, the mean over each group's passages, ``[groups]``."""
    return verdicts.mean(verdicts.label_loss)
