"""Attention over a packed batch: sequences of different lengths in one row, without padding.

A model's matrix products see only real tokens; the attention itself does so, too, where there is a kernel for it
(`varlen`), and else works on a padded view. Sequences may continue a shared prefix whose keys and values were computed
before, so a query is run once for all its passages. This plugs into transformers' attention interface: no model code is
changed or copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from limrank_ir.engines import varlen

NAME = "limrank_packed"
BLOCK = (
    96  # queries at a time on a CPU: a block needs no keys behind it, and whole sequences need twice as many products
)


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Attention of one sequence as plain matrix products, ``[tokens, heads, head size]``.

    Gradient included, it is several times as fast on a CPU as PyTorch's fused one. Query heads that share a key head
    are stacked, so that keys and values are not repeated.
    """
    queries, heads, size = query.shape
    key_heads = key.shape[1]
    shared = heads // key_heads
    q = query.view(queries, key_heads, shared, size).permute(1, 2, 0, 3).reshape(key_heads, shared * queries, size)
    scores = torch.baddbmm(mask.repeat(1, shared, 1), q, key.permute(1, 2, 0), alpha=scaling)
    out = torch.bmm(scores.softmax(-1), value.transpose(0, 1))
    return out.view(key_heads, shared, queries, size).permute(2, 0, 1, 3).reshape(queries, heads, size)


class KeyValues:
    """The keys and values of a batch: for each layer, two tensors ``[tokens, heads, head size]``."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @staticmethod
    def join(parts: list[KeyValues]) -> KeyValues:
        """Concatenate the tokens of several batches."""
        if len(parts) == 1:
            return parts[0]
        joined = KeyValues()
        for layer in parts[0].layers:
            keys, values = zip(*(part.layers[layer] for part in parts), strict=True)
            joined.layers[layer] = torch.cat(keys), torch.cat(values)
        return joined


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer passes to its attention.

    Attributes:
        index: the layer's index.
        query: ``[1, query heads, tokens, head size]``, with positions applied.
        key: ``[1, key heads, tokens, head size]``, with positions applied.
        value: ``[1, key heads, tokens, head size]``.
        scaling: the factor on the products of queries and keys.
        window: how many tokens back a token may attend to, or None for no limit.
    """

    index: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scaling: float
    window: int | None


class Packing:
    """The layout of a packed batch: where each token is, and what it may attend to.

    Sequence ``i`` has ``lengths[i]`` new tokens after its prefix, ``spans[i]``. The prefixes are tokens of
    ``prefixes``, or, if that is None, of this batch: its first sequences may be the prefixes of the others.

    Attributes:
        reads_last: whether only the last token of each sequence is read from the last layer.
    """

    reads_last = True

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
            lengths: the number of new tokens of each sequence, at least one.
            spans: (first, last + 1) of each sequence's prefix among the tokens of `prefixes`, or of the batch if there
                are none; None: no sequence has a prefix.
            prefixes: keys and values that were computed before.
            device: the model's device.
            keep: keep this batch's keys and values in `kept`, as prefixes of other batches or for generation.
        """
        spans = spans or [(0, 0)] * len(lengths)
        before = np.array([last - first for first, last in spans])
        own = np.array(lengths)
        prefix_tokens = next(iter(prefixes.layers.values()))[0].shape[0] if prefixes is not None else 0
        starts = np.concatenate([[0], np.cumsum(own)[:-1]])
        query_columns = int(own.max())
        key_columns = int((before + own).max())

        # The padded view: new tokens as [rows, query columns], all tokens as [rows, key columns]. `query` and `key`
        # say which token goes where.
        query_column = np.arange(query_columns)
        is_query = query_column < own[:, None]
        query = np.where(is_query, starts[:, None] + query_column, 0)
        key_column = np.arange(key_columns)
        in_prefix = key_column < before[:, None]
        first = np.array([span[0] for span in spans])
        new_key = prefix_tokens + starts[:, None] + key_column - before[:, None]
        is_key = key_column < (before + own)[:, None]
        key = np.where(is_key, np.where(in_prefix, first[:, None] + key_column, new_key), 0)
        # Padded queries attend to every key of their row: their results are dropped, but must not become NaN.
        position = np.where(is_query, before[:, None] + query_column, key_columns)

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.rows = len(lengths)
        self.prefixes = prefixes
        self.kept = KeyValues() if keep else None
        self.positions = tensor(position[is_query][None])
        self.last = tensor(np.cumsum(own) - 1)
        self._query_columns = query_columns
        self._longest_prefix = int(before.max())
        self._key_columns = key_columns
        self._query = tensor(query.ravel())
        self._key = tensor(key.ravel())
        self._unpad = tensor(np.flatnonzero(is_query))
        self._position = tensor(position)
        self._key_column = tensor(key_column)
        self._is_key = tensor(is_key)
        self._spans = spans
        self._own = own
        self._all = before + own
        self._starts: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._masks: dict[tuple[int | None, torch.dtype], torch.Tensor] = {}

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """The additive mask ``[rows, 1, query columns, key columns]``, made once for all layers."""
        if (window, dtype) not in self._masks:
            gap = self._position[:, :, None] - self._key_column
            seen = (gap >= 0) & self._is_key[:, None, :]
            if window is not None:
                seen &= (gap < window) | (self._position == self._key_columns)[:, :, None]
            mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self._masks[window, dtype] = mask.masked_fill_(~seen, float("-inf"))[:, None]
        return self._masks[window, dtype]

    def attend(self, layer: Layer) -> torch.Tensor:
        """The attention of one layer: ``[1, tokens, query heads, head size]``."""
        size = layer.query.shape[-1]
        keys, values = self._keys_and_values(layer)
        queries = layer.query[0].transpose(0, 1)
        if varlen.usable(layer.query):
            return self._attend_unpadded(layer, queries, keys, values)[None]
        on_cpu = queries.device.type == "cpu"
        if on_cpu and queries.requires_grad:
            return self._attend_by_sequence(layer, queries, keys, values)[None]
        q = queries.index_select(0, self._query).view(self.rows, self._query_columns, -1, size).transpose(1, 2)
        k = keys.index_select(0, self._key).view(self.rows, self._key_columns, -1, size).transpose(1, 2)
        v = values.index_select(0, self._key).view(self.rows, self._key_columns, -1, size).transpose(1, 2)
        mask = self._mask(layer.window, q.dtype)
        if not on_cpu:  # GPU kernels that accept a mask need one key head per query head
            repeat = layer.query.shape[1] // layer.key.shape[1]
            k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        out = []
        for block in self._blocks(BLOCK if on_cpu else self._query_columns):
            seen = slice(self._longest_prefix + block.stop)
            attended = scaled_dot_product_attention(
                q[:, :, block],
                k[:, :, seen],
                v[:, :, seen],
                attn_mask=mask[:, :, block, seen],
                scale=layer.scaling,
                enable_gqa=on_cpu,
            )
            out.append(attended.transpose(1, 2))
        return torch.cat(out, 1).flatten(0, 1).index_select(0, self._unpad)[None]

    def _blocks(self, most: int) -> list[slice]:
        """Split the query columns into blocks of nearly the same size."""
        size = -(-self._query_columns // -(-self._query_columns // most))
        return [slice(start, start + size) for start in range(0, self._query_columns, size)]

    def attend_last(self, layer: Layer) -> torch.Tensor:
        """The attention of one layer whose queries are the sequences' last tokens, on a CPU.

        Args:
            layer: as for `attend`, with a query for each sequence.

        Returns:
            ``[1, sequences, query heads, head size]``.
        """
        keys, values = (
            each.index_select(0, self._key).unflatten(0, (self.rows, self._key_columns)).transpose(1, 2)
            for each in self._keys_and_values(layer)
        )
        seen = self._is_key[:, None]
        if layer.window is not None:
            seen = seen & (self.lengths()[:, None, None] - 1 - self._key_column < layer.window)
        mask = torch.zeros(seen.shape, dtype=values.dtype).masked_fill_(~seen, float("-inf"))[:, None]
        query = layer.query[0].transpose(0, 1).unsqueeze(2)
        out = scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=layer.scaling, enable_gqa=True)
        return out.squeeze(2)[None]

    def _keys_and_values(self, layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of the prefixes and of this batch, ``[tokens, heads, head size]``; the batch's own are also kept."""
        keys, values = layer.key[0].transpose(0, 1), layer.value[0].transpose(0, 1)
        if self.kept is not None:  # by themselves, and not as parts of something larger
            keys, values = keys.contiguous(), values.contiguous()
            self.kept.layers[layer.index] = keys, values
        if self.prefixes is not None:
            old_keys, old_values = self.prefixes.layers[layer.index]
            keys, values = torch.cat([old_keys, keys]), torch.cat([old_values, values])
        return keys, values

    def _attend_by_sequence(
        self, layer: Layer, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """The attention of one layer, one sequence after the other: ``[tokens, query heads, head size]``."""
        mask = self._mask(layer.window, queries.dtype)
        prefix_tokens = keys.shape[0] - queries.shape[0]
        own_keys, own_values = (each[prefix_tokens:].split(self._own.tolist()) for each in (keys, values))
        prefixes = {span: (keys[slice(*span)], values[slice(*span)]) for span in set(self._spans)}
        out = []
        for row, (query, span) in enumerate(zip(queries.split(self._own.tolist()), self._spans, strict=True)):
            prefix_keys, prefix_values = prefixes[span]
            key = torch.cat([prefix_keys, own_keys[row]])
            value = torch.cat([prefix_values, own_values[row]])
            out.append(_attention(query, key, value, mask[row, :, : len(query), : len(key)], layer.scaling))
        return torch.cat(out)

    def _attend_unpadded(
        self, layer: Layer, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """The attention of one layer without padding, ``[tokens, query heads, head size]``."""
        if self._starts is None:  # made once for all layers
            device = queries.device
            query_starts, key_starts = (
                torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)).to(device)
                for lengths in (self._own, self._all)
            )
            real = torch.nonzero(self._is_key.flatten()).flatten()
            self._starts = query_starts, key_starts, self._key[real]
        query_starts, key_starts, key = self._starts
        return varlen.attention(
            queries,
            keys.index_select(0, key),
            values.index_select(0, key),
            query_starts,
            key_starts,
            (self._query_columns, self._key_columns),
            scaling=layer.scaling,
            window=layer.window,
        )

    def last_of(self, states: torch.Tensor) -> torch.Tensor:
        """The states of the sequences' last tokens, ``[sequences, size]``, of all tokens' or of these already."""
        return states if len(states) == self.rows else states[self.last]

    def padded(self) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """The kept keys and values after their prefixes, by layer: ``[sequences, heads, columns, head size]``."""
        shape = (self.rows, self._key_columns)
        return {
            layer: (keys.unflatten(0, shape).transpose(1, 2), values.unflatten(0, shape).transpose(1, 2))
            for layer, (keys, values) in self._at(self._key).items()
        }

    def joined(self) -> KeyValues:
        """The kept keys and values after their prefixes, sequence by sequence without padding."""
        both = KeyValues()
        both.layers = self._at(self._key[self._is_key.flatten()])
        return both

    def _at(self, index: torch.Tensor) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values by layer, at places among the prefixes' tokens and this batch's."""
        assert self.kept is not None
        layers = {}
        for layer, (keys, values) in self.kept.layers.items():
            if self.prefixes is not None:
                old_keys, old_values = self.prefixes.layers[layer]
                keys, values = torch.cat([old_keys, keys]), torch.cat([old_values, values])
            layers[layer] = keys.index_select(0, index), values.index_select(0, index)
        return layers

    def key_positions(self) -> torch.Tensor:
        """The position of each column of `padded`, ``[sequences, columns]``; -1 where a sequence has no token."""
        return torch.where(self._is_key, self._key_column, -1)

    def lengths(self) -> torch.Tensor:
        """The length of each sequence, prefix included, ``[sequences]``: also the position of its next token."""
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
    """The attention function that transformers calls. `packing` comes in through the model's keyword arguments."""
    # Positions are applied in the precision of the residual stream, which may be higher than that of the attention.
    query, key = query.to(value.dtype), key.to(value.dtype)
    index: Any = module.layer_idx
    return packing.attend(Layer(index, query, key, value, scaling, sliding_window)), None


def register() -> None:
    """Register ``attn_implementation="limrank_packed"`` with transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
