"""Run a batch of token sequences through the model that is being trained.

There are two ways, with the same result: padded on the left, which works on every device and with every way of sharding
a model, and packed (`limrank_ir.engines.packed`), without padding and with each query's prefix computed once, for CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from limrank_ir.engines.batching import shared_length
from limrank_ir.engines.packed import Packing

from .encode import TokenSequence


def padded(model: Any, sequences: Sequence[TokenSequence]) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits that predict each response token, computed with padding.

    Args:
        model: the causal language model, in whatever wrappers the trainer put around it.
        sequences: the batch.

    Returns:
        (logits ``[response tokens, vocabulary]``, the number of the sequence of each ``[response tokens]``).
    """
    # Nothing is predicted from the last token of a response, so it is left out.
    inputs = [sequence.ids[:-1] for sequence in sequences]
    answers = [len(sequence.ids) - sequence.prompt for sequence in sequences]
    width, keep = max(map(len, inputs)), max(answers)
    ids = np.zeros((len(inputs), width), dtype=np.int64)
    mask = np.zeros((len(inputs), width), dtype=np.int64)
    for number, tokens in enumerate(inputs):
        ids[number, width - len(tokens) :] = tokens
        mask[number, width - len(tokens) :] = 1
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


def packed(model: Any, sequences: Sequence[TokenSequence]) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as `padded`, computed without padding.

    The model must run with the attention of `limrank_ir.engines.packed`.
    """
    device = _device(model)
    prefixes: list[np.ndarray] = []
    spans: list[tuple[int, int]] = []
    place = 0
    for number in sorted({sequence.group for sequence in sequences}):
        # A prefix is shared by prompts only: every sequence needs the logits at its prompt's last token.
        members = [sequence.ids[: sequence.prompt] for sequence in sequences if sequence.group == number]
        shared = shared_length(members)
        if shared:
            prefixes.append(members[0][:shared])
        spans += [(place, place + shared)] * len(members)
        place += shared
    # The prefixes come first in the same pass: half as many matrix products, twice as large, as with two passes.
    own = [sequence.ids[last - first : -1] for sequence, (first, last) in zip(sequences, spans, strict=True)]
    parts = [*prefixes, *own]
    packing = Packing([len(ids) for ids in parts], [(0, 0)] * len(prefixes) + spans, device=device)
    ends = place + np.cumsum([len(ids) for ids in own])
    answers = [len(sequence.ids) - sequence.prompt for sequence in sequences]
    wanted = np.concatenate([np.arange(end - answer, end) for end, answer in zip(ends, answers, strict=True)])
    logits = model(
        input_ids=torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(device)[None],
        position_ids=packing.positions,
        use_cache=False,
        packing=packing,
        logits_to_keep=torch.from_numpy(wanted).to(device),
    ).logits[0]
    numbers = torch.arange(len(sequences), device=device)
    return logits, torch.repeat_interleave(numbers, torch.tensor(answers, device=device))


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device
