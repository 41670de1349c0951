"""Attention over a packed batch: sequences of different lengths stand in one row, without padding.

All matrix products of a model see real tokens only; just the attention itself works on a padded view. Sequences may
continue a shared prefix whose keys and values were computed before, so a query is run once for all its passages.
Plugs into any transformers model by its attention interface: no model code is changed or copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

NAME = "limrank_packed"


class _Take(torch.autograd.Function):
    """``index_select`` along the first axis, whose own gradient runs on one core and element by element."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(index)
        context.held = values.shape[0]
        return values.index_select(0, index)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (index,) = context.saved_tensors
        flat = gradients[0].flatten(1)  # the fast way of index_add_ is for matrices
        summed = flat.new_zeros(context.held, flat.shape[1]).index_add_(0, index, flat)
        return summed.unflatten(1, gradients[0].shape[1:]), None


def take(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows of `values` by index; differentiable."""
    return _Take.apply(values, index) if values.requires_grad else values.index_select(0, index)


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Attention in plain matrix products: with its gradient, four times as fast on a CPU as PyTorch's fused one."""
    rows, heads, wide, size = query.shape
    shared, deep = key.shape[1], key.shape[2]  # query heads that share a key head stand below each other
    q = query.reshape(rows * shared, heads // shared * wide, size)
    k, v = (part.reshape(rows * shared, deep, size) for part in (key, value))
    scores = torch.bmm(q, k.transpose(1, 2)).view(rows, heads, wide, deep) * scaling + mask
    return torch.bmm(scores.softmax(-1).view(q.shape[0], q.shape[1], deep), v).view(rows, heads, wide, size)


class KeyValues:
    """The keys and values of a batch's tokens, one pair of ``[tokens, heads, head size]`` tensors a layer."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @staticmethod
    def join(parts: list[KeyValues]) -> KeyValues:
        """Put the tokens of several batches behind one another."""
        if len(parts) == 1:
            return parts[0]
        joined = KeyValues()
        for layer in parts[0].layers:
            keys, values = zip(*(part.layers[layer] for part in parts), strict=True)
            joined.layers[layer] = torch.cat(keys), torch.cat(values)
        return joined


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer hands to its attention.

    Attributes:
        index: of the layer.
        query: ``[1, query heads, tokens, head size]``.
        key: ``[1, heads, tokens, head size]``, positions already applied.
        value: like `key`.
        scaling: factor on the products of queries and keys.
        window: how far back a token sees, or None for all the way.
    """

    index: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scaling: float
    window: int | None


class Packing:
    """Where each token of one packed batch stands, and what it may attend to.

    Sequence ``i`` has ``lengths[i]`` new tokens after ``spans[i]``, a stretch of the tokens of ``prefixes``; without
    ``prefixes``, of this very batch: its first sequences may be the prefixes of the others.
    """

    def __init__(
        self,
        lengths: list[int],
        spans: list[tuple[int, int]] | None = None,
        prefixes: KeyValues | None = None,
        *,
        device: torch.device,
        keep: bool = False,
    ) -> None:
        """Lay out a batch.

        Args:
            lengths: new tokens of each sequence, at least one each.
            spans: (first, last + 1) of each sequence's prefix among the tokens of `prefixes` (without: of the batch);
                None: no sequence has one.
            prefixes: keys and values of prefixes that were run before.
            device: where the model is.
            keep: keep this batch's keys and values (`kept`), to serve as prefixes or to be generated from.
        """
        spans = spans or [(0, 0)] * len(lengths)
        before = np.array([last - first for first, last in spans])
        own = np.array(lengths)
        held = next(iter(prefixes.layers.values()))[0].shape[0] if prefixes is not None else 0
        starts = np.concatenate([[0], np.cumsum(own)[:-1]])
        rows, wide, deep = len(lengths), int(own.max()), int((before + own).max())

        column, depth = np.arange(wide), np.arange(deep)
        is_query = column < own[:, None]
        query = np.where(is_query, starts[:, None] + column, 0)
        in_prefix = depth < before[:, None]
        first = np.array([span[0] for span in spans])
        key = np.where(in_prefix, first[:, None] + depth, held + starts[:, None] + depth - before[:, None])
        is_key = depth < (before + own)[:, None]
        key = np.where(is_key, key, 0)
        # Padded queries see every key of their row: their results are thrown away, but must not become NaN.
        position = np.where(is_query, before[:, None] + column, deep)

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.rows, self.prefixes, self.kept = rows, prefixes, KeyValues() if keep else None
        self.positions = tensor(position[is_query][None])
        self.last = tensor(np.cumsum(own) - 1)
        self._wide, self._deep = wide, deep
        self._query, self._key = tensor(query.ravel()), tensor(key.ravel())
        self._unpad = tensor(np.flatnonzero(is_query))
        self._position, self._depth, self._is_key = tensor(position), tensor(depth), tensor(is_key)
        self._masks: dict[tuple[int | None, torch.dtype], torch.Tensor] = {}

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """The additive mask ``[rows, 1, wide, deep]``, made once and used by all layers."""
        if (window, dtype) not in self._masks:
            gap = self._position[:, :, None] - self._depth
            seen = (gap >= 0) & self._is_key[:, None, :]
            if window is not None:
                seen &= (gap < window) | (self._position == self._deep)[:, :, None]
            mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self._masks[window, dtype] = mask.masked_fill_(~seen, float("-inf"))[:, None]
        return self._masks[window, dtype]

    def attend(self, layer: Layer) -> torch.Tensor:
        """Attention of one layer: ``[1, tokens, query heads, head size]``."""
        query, key, value, window = layer.query, layer.key, layer.value, layer.window
        size = query.shape[-1]
        keys, values = key[0].transpose(0, 1), value[0].transpose(0, 1)
        if self.kept is not None:
            self.kept.layers[layer.index] = (keys, values)
        if self.prefixes is not None:
            old_keys, old_values = self.prefixes.layers[layer.index]
            keys, values = torch.cat([old_keys, keys]), torch.cat([old_values, values])
        k = take(keys, self._key).view(self.rows, self._deep, -1, size).transpose(1, 2)
        v = take(values, self._key).view(self.rows, self._deep, -1, size).transpose(1, 2)
        q = take(query[0].transpose(0, 1), self._query).view(self.rows, self._wide, -1, size).transpose(1, 2)
        if q.requires_grad and q.device.type == "cpu":
            out = _attention(q, k, v, self._mask(window, q.dtype), layer.scaling)
            return take(out.transpose(1, 2).flatten(0, 1), self._unpad)[None]
        shared = query.device.type == "cpu"  # GPU kernels that take a mask want a key head for each query head
        if not shared:
            repeat = query.shape[1] // key.shape[1]
            k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        mask = self._mask(window, query.dtype)
        out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=layer.scaling, enable_gqa=shared)
        return take(out.transpose(1, 2).flatten(0, 1), self._unpad)[None]

    def padded(self) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """The kept keys and values with their prefixes, by layer, as ``[sequences, heads, columns, head size]``."""
        assert self.kept is not None
        made = {}
        for layer, own in self.kept.layers.items():
            old = self.prefixes.layers[layer] if self.prefixes is not None else (own[0][:0], own[1][:0])
            keys, values = (
                torch.cat([before, after]).index_select(0, self._key).view(self.rows, self._deep, *after.shape[1:])
                for before, after in zip(old, own, strict=True)
            )
            made[layer] = keys.transpose(1, 2), values.transpose(1, 2)
        return made

    def key_positions(self) -> torch.Tensor:
        """The position of each column of `padded`, ``[sequences, columns]``; -1 where a sequence has no token."""
        return torch.where(self._is_key, self._depth, -1)

    def lengths(self) -> torch.Tensor:
        """Tokens of each sequence, prefix included, ``[sequences]``: the position of the token that comes next."""
        return self._is_key.sum(dim=1)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    packing: Any,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls; `packing` comes through the model's keyword arguments."""
    # Positions are applied in the precision of the residual stream, which may be higher than that of the products.
    query, key = query.to(value.dtype), key.to(value.dtype)
    index: Any = module.layer_idx
    return packing.attend(Layer(index, query, key, value, scaling, sliding_window)), None


def register() -> None:
    """Make ``attn_implementation="limrank_packed"`` known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
