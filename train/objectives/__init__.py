"""The training objectives, one per file; a run minimizes their weighted sum.

``traces`` learns from the tokens of thoughts; every other objective learns from verdicts that are given at once
(`Verdicts`). Each returns one number per group, and the loss is the mean over groups, so it does not depend on how the
groups are split into steps and processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NAMES = ("traces", "verdict", "contrastive", "binary", "graded", "distill")


@dataclass(frozen=True)
class Verdicts:
    """The model's verdicts on a batch; all tensors are ``[groups, passages]``, padded.

    Attributes:
        log_odds: the model's log-odds, float32.
        label_loss: ``-log p(label)`` over the whole vocabulary.
        labels: 1 where the passage is relevant, else 0.
        grades: soft labels from 0 to 1; the hard label if a passage has none.
        teacher: the log-odds of a teacher's softmax over the group; NaN without a teacher.
        here: True for a passage, False for padding.
    """

    log_odds: torch.Tensor
    label_loss: torch.Tensor
    labels: torch.Tensor
    grades: torch.Tensor
    teacher: torch.Tensor
    here: torch.Tensor

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over each group's passages, ``[groups]``."""
        return values.masked_fill(~self.here, 0).sum(1) / self.here.sum(1)


def objective(name: str) -> Callable[[Verdicts], torch.Tensor]:
    """The objective with this name: a function from verdicts to losses, ``[groups]``."""
    return import_module(f"{__name__}.{name}").loss
