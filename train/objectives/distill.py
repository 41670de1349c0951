"""Learn a teacher's order of a query's passages: the divergence between two softmaxes (as in ListNet)."""

from __future__ import annotations

import torch

from . import Verdicts


def loss(verdicts: Verdicts) -> torch.Tensor:
    """Kullback-Leibler divergence of the student's softmax from the teacher's, ``[groups]``; 0 without a teacher."""
    outside = ~verdicts.here
    without = (verdicts.teacher.isnan() & verdicts.here).any(1)
    teacher = verdicts.teacher.nan_to_num(0).masked_fill(outside, float("-inf")).log_softmax(1)
    student = verdicts.log_odds.masked_fill(outside, float("-inf")).log_softmax(1)
    gap = (teacher - student).masked_fill(outside, 0)
    return (teacher.exp() * gap).sum(1).masked_fill(without, 0)
