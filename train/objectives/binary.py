"""Binary cross-entropy of the log-odds: true against false, for each passage by itself."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """Cross-entropy with the hard labels, averaged over each group's passages, ``[groups]``."""
    return verdicts.mean(binary_cross_entropy_with_logits(verdicts.log_odds, verdicts.labels, reduction="none"))
