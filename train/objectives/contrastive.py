"""Contrast within a query: the positives shall beat the other passages (a softmax over log-odds, as InfoNCE)."""

from __future__ import annotations

import torch

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """Minus the logarithm of the positives' share in the softmax over each group's log-odds, ``[groups]``.

    A group without both kinds has nothing to contrast, and counts 0.
    """
    positive = verdicts.here & (verdicts.labels > 0.5)
    both = positive.any(1) & (verdicts.here & ~positive).any(1)
    scores = verdicts.log_odds.masked_fill(~verdicts.here, float("-inf"))[both]
    share = scores.masked_fill(~positive[both], float("-inf"))
    losses = verdicts.log_odds.new_zeros(len(both))
    return losses.masked_scatter(both, scores.logsumexp(1) - share.logsumexp(1))
