"""Contrast within a query: positives against the other passages (a softmax over log-odds, as in InfoNCE)."""

from __future__ import annotations

import torch

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """Negative log of the positives' share in the softmax over each group's log-odds, ``[groups]``.

    A group that lacks positives or negatives has nothing to contrast and counts as 0.
    """
    positive = verdicts.here & (verdicts.labels > 0.5)
    both = positive.any(1) & (verdicts.here & ~positive).any(1)
    scores = verdicts.log_odds.masked_fill(~verdicts.here, float("-inf"))[both]
    share = scores.masked_fill(~positive[both], float("-inf"))
    losses = verdicts.log_odds.new_zeros(len(both))
    return losses.masked_scatter(both, scores.logsumexp(1) - share.logsumexp(1))
