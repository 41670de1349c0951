"""Running a batch of rows through a model that is being trained.

Two ways with the same result: padded to the left, which every device and every way of sharding a model understands; and
packed (`limrank_ir.engines.packed`), without padding and with each query's prefix run once, for a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from limrank_ir.engines.batching import shared_length
from limrank_ir.engines.packed import Packing

from .encode import TokenSequence


def padded(model: Any, rows: Sequence[TokenSequence]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in front of every response token, with padding.

    Args:
        model: the causal language model, in whatever wrappers the trainer put around it.
        rows: the rows.

    Returns:
        (logits ``[response tokens, vocabulary]``, the rows that they belong to ``[response tokens]``).
    """
    # The last token of a response predicts nothing; leaving it out spares a column.
    sequences = [row.ids[:-1] for row in rows]
    answers = [len(row.ids) - row.prompt for row in rows]
    wide, keep = max(map(len, sequences)), max(answers)
    ids = np.zeros((len(rows), wide), dtype=np.int64)
    mask = np.zeros((len(rows), wide), dtype=np.int64)
    for number, sequence in enumerate(sequences):
        ids[number, wide - len(sequence) :] = sequence
        mask[number, wide - len(sequence) :] = 1
    device = _device(model)
    attention = torch.from_numpy(mask).to(device)
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    out = model(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=attention,
        position_ids=positions,
        use_cache=False,
        logits_to_keep=keep,
    ).logits
    answer = torch.tensor(answers, device=device)
    wanted = torch.arange(keep, device=device) >= keep - answer[:, None]
    return out[wanted], wanted.nonzero()[:, 0]


def packed(model: Any, rows: Sequence[TokenSequence]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in front of every response token, without padding (as `padded`).

    The model's attention must be the packed one.
    """
    device = _device(model)
    heads: list[np.ndarray] = []
    spans: list[tuple[int, int]] = []
    place = 0
    for number in sorted({row.group for row in rows}):
        # Of prompts alone: the token in front of a response has a logit that is needed in every row.
        members = [row.ids[: row.prompt] for row in rows if row.group == number]
        shared = shared_length(members)
        if shared:
            heads.append(members[0][:shared])
        spans += [(place, place + shared)] * len(members)
        place += shared
    # The prefixes stand in front, in the same pass: twice as few and twice as large products as in a pass of their own.
    own = [row.ids[last - first : -1] for row, (first, last) in zip(rows, spans, strict=True)]
    sequences = [*heads, *own]
    packing = Packing([len(ids) for ids in sequences], [(0, 0)] * len(heads) + spans, device=device)
    ends = place + np.cumsum([len(ids) for ids in own])
    answers = [len(row.ids) - row.prompt for row in rows]
    wanted = np.concatenate([np.arange(end - answer, end) for end, answer in zip(ends, answers, strict=True)])
    logits = model(
        input_ids=torch.from_numpy(np.concatenate(sequences).astype(np.int64)).to(device)[None],
        position_ids=packing.positions,
        use_cache=False,
        packing=packing,
        logits_to_keep=torch.from_numpy(wanted).to(device),
    ).logits[0]
    return logits, torch.repeat_interleave(torch.arange(len(rows), device=device), torch.tensor(answers, device=device))


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device
