"""A decoder's attention on CPUs: fewer products and fewer passes over memory, and of the last layer only what is read.

transformers projects queries, keys, and values one by one, and applies their positions in a dozen passes, which take a
tenth of a batch's time on a 135M model. Here, one product makes all three, and positions are one complex product: a
pair of dimensions that turns together is a complex number, if the two stand side by side. In these models they stand
half a head apart; so the rows of the weights are sorted, which changes no product of a query with a key.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from limrank_ir.engines.packed import Layer


class Positions(nn.Module):
    """The rotations of positions as complex numbers."""

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self.rotary = rotary

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        """``[1, tokens, half a head]``, complex."""
        cos, sin = self.rotary(x, position_ids=position_ids)
        half = cos.shape[-1] // 2
        return torch.complex(cos[..., :half], sin[..., :half])


class Attention(nn.Module):
    """Attention with one layer for queries, keys, and values."""

    def __init__(self, attention: Any, project: nn.Module, out: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        """Take the place of an attention of transformers.

        Args:
            attention: of a llama, mistral, qwen2, or qwen3 model, in float32. It stays as it is.
            project: its layers for queries, keys, and values as one (`joined`).
            out: its last layer.
            dtype: the precision of queries, keys, and values.
        """
        super().__init__()
        self.dtype = dtype
        self.index, self.scaling, self.size = attention.layer_idx, attention.scaling, attention.head_dim
        # Mistral's is in the configuration; that of qwen2 and qwen3 is there, too, but counts for some layers only.
        self.window = getattr(attention, "sliding_window", getattr(attention.config, "sliding_window", None))
        queries, keys = (part.out_features // self.size for part in (attention.q_proj, attention.k_proj))
        self.heads = [queries, keys]
        self.project, self.out = project, out
        self.norms = nn.ModuleList(
            _sorted_norm(getattr(attention, name)) for name in ("q_norm", "k_norm") if hasattr(attention, name)
        )

    def forward(
        self, hidden_states: Any, position_embeddings: torch.Tensor, packing: Any, *, last: bool = False, **_: Any
    ) -> tuple[torch.Tensor, None]:
        """As transformers calls it.

        Args:
            hidden_states: what the layers read, ``[1, tokens, hidden size]``.
            position_embeddings: what `Positions` gives.
            packing: the layout (`limrank_ir.engines.packed.Packing`).
            last: only for the last token of each sequence.
        """
        heads = self.project(hidden_states)[0].unflatten(-1, (-1, self.size))
        turning, value = heads.split([sum(self.heads), self.heads[1]], dim=1)
        if self.norms:
            parts = zip(self.norms, turning.split(self.heads, dim=1), strict=True)
            turning = torch.cat([norm(part) for norm, part in parts], dim=1)
        query, key = _turned(turning, position_embeddings).to(self.dtype).split(self.heads, dim=1)
        if last:
            query = query.index_select(0, packing.last)
        query, key, value = (each.transpose(0, 1)[None] for each in (query, key, value.to(self.dtype)))
        layer = Layer(self.index, query, key, value, self.scaling, self.window)
        attended = packing.attend_last(layer) if last else packing.attend(layer)
        return self.out(attended.flatten(-2).to(heads.dtype)), None


class LastLayer(nn.Module):
    """The last layer of a decoder, of which only the last token of each sequence is read."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden_states: torch.Tensor, packing: Any, **given: Any) -> torch.Tensor:
        """``[1, sequences, hidden size]``, or of all tokens if the layout wants them."""
        layer = self.layer
        if not getattr(packing, "reads_last", False):
            return layer(hidden_states, packing=packing, **given)
        attended, _ = layer.self_attn(layer.input_layernorm(hidden_states), packing=packing, last=True, **given)
        hidden_states = hidden_states[:, packing.last] + attended
        return hidden_states + layer.mlp(layer.post_attention_layernorm(hidden_states))


def _turned(x: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Turn pairs of neighbors, ``[tokens, heads, head size]``; in float32."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations[0, :, None]).flatten(-2)


def joined(attention: Any) -> nn.Linear:
    """Queries, keys, and values in one layer, with the pairs of queries and keys sorted, for `Attention`."""
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    order = _order(attention.head_dim)

    def rows(name: str) -> torch.Tensor:
        q, k, v = (getattr(part, name).detach().unflatten(0, (-1, attention.head_dim)) for part in parts)
        return torch.cat([q[:, order], k[:, order], v]).flatten(0, 1)

    layer = nn.Linear(parts[0].in_features, 1, bias=parts[0].bias is not None, device="meta")
    layer.weight = nn.Parameter(rows("weight"), requires_grad=False)
    if layer.bias is not None:
        layer.bias = nn.Parameter(rows("bias"), requires_grad=False)
    return layer


def _sorted_norm(norm: Any) -> Any:
    """A norm of heads for sorted pairs."""
    weight = norm.weight.detach()
    made = type(norm)(len(weight), norm.variance_epsilon)
    made.weight = nn.Parameter(weight[_order(len(weight))], requires_grad=False)
    return made


def _order(size: int) -> torch.Tensor:
    """The dimensions of a head, those that turn together side by side: 0, size / 2, 1, size / 2 + 1, ..."""
    return torch.arange(size).view(2, -1).T.flatten()
