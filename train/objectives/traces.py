"""SFT on reasoning traces, the paper's objective: cross-entropy of the thought, its end, and the label."""

from __future__ import annotations

import torch


def loss(token_loss: torch.Tensor, sequence: torch.Tensor, group: torch.Tensor, groups: int) -> torch.Tensor:
    """Average over a sequence's response tokens, then over a group's sequences; 0 for a group without traces.

    Args:
        token_loss: ``-log p`` of each response token, ``[tokens]``.
        sequence: the number of each token's sequence, ``[tokens]``.
        group: the number of each sequence's group, ``[sequences]``.
        groups: how many groups the batch has.

    Returns:
        The losses, ``[groups]``.
    """
    count = len(group)
    sums = token_loss.new_zeros(count).index_add(0, sequence, token_loss)
    per_sequence = sums / torch.bincount(sequence, minlength=count)
    per_group = token_loss.new_zeros(groups).index_add(0, group, per_sequence)
    return per_group / torch.bincount(group, minlength=groups).clamp(min=1)


def loss_per_token(token_loss: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """A batch's part of the mean over all response tokens of a step, in which long responses weigh more; a scalar.

    This is what transformers' Trainer does (``num_items_in_batch``), and so the loss of the released recipe.

    Args:
        token_loss: ``-log p`` of each response token of the batch, ``[tokens]``.
        tokens: the number of response tokens in all batches of the step.
    """
    return token_loss.sum() / tokens
