"""Attention of encoders over a packed batch: pairs of different lengths in one row, without padding.

As in `packed`, a model's matrix products see only real tokens, and only the attention works on a padded view. Here, a
token attends to all tokens of its own pair, or to those in a window around it. This plugs into transformers' attention
interface; the model's own pooling and head read the result as if the batch had been padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

NAME = "limrank_packed_encoder"


class EncoderPacking:
    """The layout of a packed batch of pairs."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        """Lay out a batch.

        Args:
            lengths: the number of tokens of each pair.
            device: the model's device.
        """
        own = np.array(lengths)
        starts = np.cumsum(own) - own
        column = np.arange(own.max())
        real = column < own[:, None]
        self.rows, self.columns = real.shape
        self.positions = torch.from_numpy(np.broadcast_to(column, real.shape)[real]).to(device)[None]
        self.real = torch.from_numpy(real).to(device)
        self._token = torch.from_numpy(np.where(real, starts[:, None] + column, 0).ravel()).to(device)
        self._place = torch.from_numpy(np.flatnonzero(real)).to(device)
        self._masks: dict[int | None, torch.Tensor | None] = {}

    def padded(self, tokens: torch.Tensor) -> torch.Tensor:
        """``[tokens, ...]`` as ``[rows, columns, ...]``. What stands in the padding has no meaning."""
        return tokens.index_select(0, self._token).unflatten(0, (self.rows, self.columns))

    def _mask(self, window: int | None) -> torch.Tensor | None:
        """Which key a query attends to, ``[rows, 1, 1 or columns, columns]``; None: all."""
        if window not in self._masks:
            mask = None if bool(self.real.all()) else self.real[:, None, None]
            if window is not None and window < self.columns:
                column = torch.arange(self.columns, device=self.real.device)
                near = (column[:, None] - column).abs() < window
                # A padded query near no key would be NaN; its result is dropped, but NaN is slow on some CPUs.
                mask = near[None, None] if mask is None else (near & mask) | ~self.real[:, None, :, None]
            self._masks[window] = mask
        return self._masks[window]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, window: int | None
    ) -> torch.Tensor:
        """The attention of one layer, ``[1, heads, tokens, head size]`` each, to ``[1, tokens, heads, head size]``."""
        q, k, v = (self.padded(part[0].transpose(0, 1)).transpose(1, 2) for part in (query, key, value))
        out = scaled_dot_product_attention(q, k, v, attn_mask=self._mask(window), scale=scaling)
        return out.transpose(1, 2).flatten(0, 1).index_select(0, self._place)[None]


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packing: EncoderPacking,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls. `packing` comes in through the model's keyword arguments."""
    return packing.attend(query, key, value, scaling, sliding_window), None


def pack(model: Any) -> bool:
    """Let a sequence classifier run packed batches, if its family can: `packed_logits`.

    The model's own forward pass and ours are compared on two sequences, so that a family with other rules for
    attention, positions, or pooling runs as its authors wrote it, only slower.

    Args:
        model: a classifier from transformers. Its attention is replaced, or left as it is.

    Returns:
        Whether it is packed now.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
    own = model.config._attn_implementation
    body = model.base_model
    # A pooler is inside the base model, behind its encoder.
    hook = getattr(body, "encoder", body).register_forward_hook(_unpack, with_kwargs=True)
    try:
        agree = _agree(model)
    except (TypeError, AttributeError, ValueError, KeyError, IndexError, RuntimeError):
        agree = False
    if not agree:
        hook.remove()
        model.set_attn_implementation(own)
    return agree


def packed_logits(model: Any, rows: Sequence[dict[str, np.ndarray]], device: torch.device) -> torch.Tensor:
    """Run a packed batch through a model for which `pack` is true.

    Args:
        model: the model.
        rows: the model's inputs for each pair: ``input_ids`` and, for some families, ``token_type_ids``.
        device: the model's device.

    Returns:
        The logits, ``[rows, labels]``.
    """
    return model(**_inputs(model, rows, device)).logits


def _inputs(model: Any, rows: Sequence[dict[str, np.ndarray]], device: torch.device) -> dict[str, Any]:
    packing = EncoderPacking([len(row["input_ids"]) for row in rows], device)
    joined = {name: torch.from_numpy(np.concatenate([row[name] for row in rows])).to(device)[None] for name in rows[0]}
    # The mask is for heads that average over all tokens.
    mask = packing.real.long()
    return {
        **joined,
        "position_ids": packing.positions + first_position(model),
        "attention_mask": mask,
        "packing": packing,
    }


def first_position(model: Any) -> int:
    """The position of a sequence's first token: 0, but for RoBERTa and its kin the one after that of padding."""
    embeddings: Any = getattr(model.base_model, "embeddings", None)
    return embeddings.padding_idx + 1 if hasattr(embeddings, "create_position_ids_from_input_ids") else 0


def _unpack(module: torch.nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """Give the model's head what it expects: one row for each pair."""
    if (packing := kwargs.get("packing")) is not None:
        output.last_hidden_state = packing.padded(output.last_hidden_state[0])
    return output


@torch.inference_mode()
def _agree(model: Any) -> bool:
    """Whether packing gives the hidden states and the logits of the model's own forward pass."""
    lengths = [7, min(200, model.config.max_position_embeddings - first_position(model))]  # longer than local attention
    kinds = model.config.vocab_size
    rows = [{"input_ids": (10 + np.arange(length) * (1 + row)) % kinds} for row, length in enumerate(lengths)]
    own = []
    for row in rows:
        ids = torch.from_numpy(row["input_ids"])[None].to(model.device)
        own.append((model.base_model(input_ids=ids).last_hidden_state[0], model(input_ids=ids).logits[0]))
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation != NAME:  # transformers only logs that it cannot
        return False
    inputs = _inputs(model, rows, model.device)
    hidden, logits = model.base_model(**inputs).last_hidden_state, model(**inputs).logits
    near = 1e-4 if model.dtype == torch.float32 else 5e-2
    return all(
        bool((hidden[row, : len(states)] - states).abs().max() < near * states.abs().max())
        and bool((logits[row] - score).abs().max() < near * (1 + score.abs().max()))
        for row, (states, score) in enumerate(own)
    )
