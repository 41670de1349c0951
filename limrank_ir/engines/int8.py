"""Passages in 8 bits, on x86 CPUs: several times as many products per instruction as in float32.

Weights have one scale per output channel, computed once; activations have one scale per token, computed as they come,
so that a token's result does not depend on its batch. The products are oneDNN's, which PyTorch's CPU build includes,
with sums in exact 32-bit integers. The residual stream, norms, and attention stay in float32.

Three things keep scores close to those of float32 (docs/speed.md has the figures):

- Only passages are read in 8 bits. The query, which is read once, and the last token, where the label stands, run in
  float32 with the passage's keys and values (`limrank_ir.engines.loading.Loaded.run_int8`).
- A scale per token is spoiled by outliers: a few channels of the residual stream are twenty times as large as the rest,
  which is left with three of the eight bits. So the layers work in another basis, in which nothing sticks out (QuaRot,
  arXiv 2404.00456). The orthogonal matrix is multiplied into the weights, which changes no result and costs no time.
  Only the products inside the MLP must be turned as they come, in blocks of `BLOCK`.
- Without VNNI, oneDNN adds pairs of products in 16 bits (``vpmaddubsw``), which overflow silently. There, scales are
  such that no pair of weights can (`_scales`).
"""

from __future__ import annotations

import copy
import functools
import platform
from typing import Any

import torch
from torch import nn

from limrank_ir.engines.cpu import PackedLinear
from limrank_ir.engines.cpu_attention import Attention, LastLayer, Positions, joined

BLOCK = 32  # larger ones are no more exact
MIDDLE = 128  # the instructions want unsigned activations; they are symmetric around this
LARGEST = 127
LARGEST_PAIR = 127  # of two weights of one sign: 255 * (127 + 1) < 2**15, with 1 for rounding
TINY = 1e-30  # the scale of a row of zeros
ROWS = 1024  # tokens in a typical batch; oneDNN packs weights for a given number of rows


class Int8Rows:
    """Tokens in 8 bits: ``scales * (values - MIDDLE)``.

    A norm's output, which several projections share. The layers of transformers that pass it on look at its shape only.

    Attributes:
        values: ``[1, tokens, size]``, uint8.
        scales: ``[1, tokens, 1]``, float32.
    """

    def __init__(self, x: torch.Tensor) -> None:
        """Quantize the rows of a float32 tensor."""
        largest = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_())
        self.scales = largest.clamp_min_(TINY).div_(LARGEST)
        # int8 and an addition that wraps around, because PyTorch's conversion to uint8 takes seven times as long.
        self.values = (x * self.scales.reciprocal()).round_().to(torch.int8).view(torch.uint8).add_(MIDDLE)

    @property
    def shape(self) -> torch.Size:
        """The shape of the values."""
        return self.values.shape


class Int8Linear(nn.Module):
    """A linear layer with weights and inputs in 8 bits, and outputs in float32."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.scales = _scales(weight)
        values = torch.round(weight / self.scales[:, None]).to(torch.int8)
        self.weight = torch.ops.onednn.qlinear_prepack(values, [ROWS, weight.shape[1]])
        self.zeros = torch.zeros(len(values), dtype=torch.int64)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: torch.Tensor | Int8Rows) -> torch.Tensor:
        """``x @ weight.T + bias``."""
        rows = x if isinstance(x, Int8Rows) else Int8Rows(x)
        out = product(rows.values, self).mul_(rows.scales)
        return out if self.bias is None else out.add_(self.bias)


class Int8Norm(nn.Module):
    """``x / rms(x)`` in 8 bits. The norm's own weights are part of the layers that follow."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> Int8Rows:
        """The normalized rows."""
        rows = Int8Rows(x)
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        rows.scales.mul_(mean_square.add_(self.epsilon).rsqrt_())
        return rows


class Int8MLP(nn.Module):
    """``down(silu(gate(x)) * up(x))``, where `down` reads blocks that are turned by an orthogonal matrix."""

    def __init__(self, gate: Int8Linear, up: Int8Linear, down: Int8Linear, turn: torch.Tensor) -> None:
        super().__init__()
        self.gate, self.up, self.down = gate, up, down
        self.turn, self.block = PackedLinear(_linear(turn.T), torch.float32), len(turn)

    def forward(self, rows: Int8Rows) -> torch.Tensor:
        """The block's output."""
        inner = nn.functional.silu(self.gate(rows), inplace=True).mul_(self.up(rows))
        return self.down(self.turn(inner.view(-1, self.block)).view(inner.shape))


class Nothing(nn.Module):
    """Adds nothing to the residual stream."""

    def forward(self, _: object) -> torch.Tensor:
        """A zero."""
        return torch.zeros(())


def product(values: torch.Tensor, layer: Int8Linear) -> torch.Tensor:
    """``layer.scales * ((values - MIDDLE) @ weight.T)`` in float32."""
    return torch.ops.onednn.qlinear_pointwise(
        values, 1.0, MIDDLE, layer.weight, layer.scales, layer.zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


def can_quantize(config: Any = None) -> bool:
    """Whether this CPU and this build of PyTorch have the products, and a model has the layers.

    Args:
        config: a transformers configuration, or None to ask about the machine only.
    """
    if config is not None and getattr(config, "hidden_act", None) not in ("silu", "swish"):
        return False
    return (
        platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.onednn, "qlinear_pointwise")
        and torch.cpu._is_avx2_supported()
    )


@functools.lru_cache
def overflows() -> bool:
    """Whether pairs of products overflow here, which depends on the CPU and on oneDNN's settings."""
    size = 64
    layer = Int8Linear.__new__(Int8Linear)
    nn.Module.__init__(layer)
    layer.scales, layer.zeros = torch.ones(size), torch.zeros(size, dtype=torch.int64)
    weight = torch.full((size, size), LARGEST, dtype=torch.int8)
    layer.weight = torch.ops.onednn.qlinear_prepack(weight, [size, size])
    found = product(torch.full((size, size), 255, dtype=torch.uint8), layer)
    return bool((found != size * LARGEST * (255 - MIDDLE)).any())


def quantized(model: Any) -> nn.Module:
    """Make a decoder with layers in 8 bits, up to the last layer's keys and values: it gives nothing else.

    Args:
        model: a causal language model in float32, of a tested family, which `can_quantize`. It stays as it is.

    Returns:
        What to run instead of ``model.get_decoder()`` to get the keys and values of passages.
    """
    decoder, hidden = _copy(model.get_decoder()), model.config.hidden_size
    inner = model.config.intermediate_size
    turn = turning(hidden)
    turn_inner = turning(next(size for size in range(min(BLOCK, inner), 0, -1) if inner % size == 0))

    def reads(linear: nn.Linear, norm: Any) -> Int8Linear:
        """A layer that reads the residual stream through a norm."""
        return Int8Linear(linear.weight * norm.weight @ turn, linear.bias)

    def writes(linear: nn.Linear, inputs: torch.Tensor | None = None) -> Int8Linear:
        """A layer that writes to the residual stream."""
        weight = turn.T @ linear.weight
        if inputs is not None:
            weight = (weight.view(hidden, -1, len(inputs)) @ inputs).flatten(1)
        return Int8Linear(weight, None if linear.bias is None else linear.bias @ turn)

    layers = []
    for original in decoder.layers:
        layer = _copy(original)
        before, after, mlp = layer.input_layernorm, layer.post_attention_layernorm, layer.mlp
        attention = layer.self_attn
        layer.self_attn = Attention(attention, reads(joined(attention), before), writes(attention.o_proj))
        gate, up, down = reads(mlp.gate_proj, after), reads(mlp.up_proj, after), writes(mlp.down_proj, turn_inner)
        layer.mlp = Int8MLP(gate, up, down, turn_inner)
        layer.input_layernorm = Int8Norm(before.variance_epsilon)
        layer.post_attention_layernorm = Int8Norm(after.variance_epsilon)
        layers.append(layer)
    layers[-1].self_attn.out = layers[-1].mlp = Nothing()
    decoder.layers, decoder.norm = nn.ModuleList([*layers[:-1], LastLayer(layers[-1])]), nn.Identity()
    decoder.rotary_emb = Positions(decoder.rotary_emb)
    decoder.embed_tokens = nn.Sequential(decoder.embed_tokens, _linear(turn.T))
    return decoder.eval()


def turning(size: int) -> torch.Tensor:
    """An orthogonal matrix, always the same one: ``[size, size]``."""
    q, r = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size)))
    return (q * r.diagonal().sign()).float()


def _scales(weight: torch.Tensor) -> torch.Tensor:
    """The scale of each output channel.

    Where pairs overflow, it also bounds each two neighbors of one sign: oneDNN multiplies them with two activations and
    adds the products in 16 bits. That costs 0.4 bits; weights of 7 bits, the usual way, would cost 1.
    """
    largest = weight.abs().amax(1) / LARGEST
    if overflows():
        pairs = weight.unflatten(1, (-1, 2))
        sums = torch.maximum(pairs.clamp_min(0).sum(2).amax(1), pairs.clamp_max(0).sum(2).amin(1).neg())
        largest = torch.maximum(largest, sums / LARGEST_PAIR)
    return largest.clamp_min(TINY)


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    return layer


def _copy(module: Any) -> Any:
    """A module whose parts can be replaced without changing the original. The parts are the same ones."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied
