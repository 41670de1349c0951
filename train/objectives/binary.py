"""Binary cross-entropy of the log-odds: each passage by itself, true against false alone."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """Cross-entropy with the hard labels, the mean over each group's passages, ``[groups]``."""
    return verdicts.mean(binary_cross_entropy_with_logits(verdicts.log_odds, verdicts.labels, reduction="none"))
