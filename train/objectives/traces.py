"""SFT on reasoning traces, the paper's objective: cross-entropy of the thought, its end and the label."""

from __future__ import annotations

import torch


def loss(token_loss: torch.Tensor, row: torch.Tensor, group: torch.Tensor, groups: int) -> torch.Tensor:
    """The mean over a row's response tokens, then over a group's rows, ``[groups]``; 0 for a group without traces.

    Args:
        token_loss: ``-log p`` of each response token, ``[tokens]``.
        row: which row each token belongs to, ``[tokens]``.
        group: which group each row belongs to, ``[rows]``.
        groups: how many groups the batch has.
    """
    rows = len(group)
    per_row = token_loss.new_zeros(rows).index_add(0, row, token_loss) / torch.bincount(row, minlength=rows)
    sums = token_loss.new_zeros(groups).index_add(0, group, per_row)
    return sums / torch.bincount(group, minlength=groups).clamp(min=1)
