"""What a run minimizes: named objectives, one a file, and their weighted sum.

Every objective but ``traces`` looks at verdicts that are given at once (`Verdicts`); ``traces`` looks at the tokens of
thoughts. All return one number a group, and the loss is the mean over groups: how groups are split over steps and
processes then does not change it.
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
    """What the model says of a batch's groups; all tensors are ``[groups, passages]``, padded.

    Attributes:
        log_odds: the model's log-odds, float32.
        label_loss: ``-log p(label)`` over the whole vocabulary.
        labels: 1 where the passage is relevant, else 0.
        grades: soft labels from 0 to 1; the hard label where there is none.
        teacher: a teacher's scores, 0 where there are none.
        here: True where there is a passage, False in the padding.
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
    """The objective of that name: verdicts to ``[groups]``."""
    return import_module(f"{__name__}.{name}").loss
