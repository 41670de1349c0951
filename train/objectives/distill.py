"""Learn a teacher's order of a query's passages: the divergence between two softmaxes (as in ListNet).

The teacher's scores are cosine similarities of sentence embeddings. Their scale, 20, is the one that such models are
trained with (sentence-transformers' ``MultipleNegativesRankingLoss``).
"""

from __future__ import annotations

import torch

from . import Verdicts

SCALE = 20.0


def loss(verdicts: Verdicts) -> torch.Tensor:
    """Kullback-Leibler divergence of the student's softmax from the teacher's, ``[groups]``."""
    outside = ~verdicts.here
    teacher = (SCALE * verdicts.teacher).masked_fill(outside, float("-inf")).log_softmax(1)
    student = verdicts.log_odds.masked_fill(outside, float("-inf")).log_softmax(1)
    gap = (teacher - student).masked_fill(outside, 0)
    return (teacher.exp() * gap).sum(1)
