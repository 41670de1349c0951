"""Soft labels: how relevant a passage is, not only whether it is ("Beyond Polarization" finds graded labels best)."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """Cross-entropy with the soft labels, averaged over each group's passages, ``[groups]``."""
    return verdicts.mean(binary_cross_entropy_with_logits(verdicts.log_odds, verdicts.grades, reduction="none"))
