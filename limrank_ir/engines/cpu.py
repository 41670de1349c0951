"""Faster layers for CPUs: the same arithmetic in fewer passes over memory.

PyTorch's CPU build includes oneDNN. Its linear layers, with weights packed in advance and the following activation or
product fused in, are a fifth faster than PyTorch's own on a 135M model. These are the operators that PyTorch's
compiler emits, but using them directly needs no C++ compiler on the user's machine.

With bfloat16 weights, only the matrix products and the attention run in bfloat16, which CPUs with AMX, and AMD's with
AVX-512 BF16, compute at least twice as fast. The residual stream stays in float32, so that errors do not add up over
the layers.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from limrank_ir.engines.cpu_attention import Attention, LastLayer, Positions, joined

ROWS = 1024  # tokens in a typical batch; oneDNN packs weights for a given number of rows


class PackedLinear(nn.Module):
    """A linear layer with its weights in oneDNN's packed layout."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype).contiguous(), ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, x: torch.Tensor, activation: str = "none") -> torch.Tensor:
        """``activation(x @ weight.T + bias)``; the activation is ``"none"`` or ``"swish"``."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, activation, [], "")

    def times(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """``(x @ weight.T + bias) * other``."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "mul")


class GatedMLP(nn.Module):
    """``down(silu(gate(x)) * up(x))`` in three passes."""

    def __init__(self, mlp: Any, dtype: torch.dtype) -> None:
        super().__init__()
        parts = (mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        self.gate, self.up, self.down = (PackedLinear(part, dtype) for part in parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output, in the shape of `x`."""
        return self.down(self.up.times(x, self.gate(x, "swish")))


class Head(nn.Module):
    """The head over the vocabulary. Of few rows, PyTorch's own product takes several times as long."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = head.weight, head.bias
        self.packed = PackedLinear(head, head.weight.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, ``[sequences, vocabulary]``."""
        return self.packed(x)


class RMSNorm(nn.Module):
    """``x / rms(x) * weight``, reading `x` twice instead of four times."""

    def __init__(self, norm: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.epsilon, self.dtype = norm.weight.detach(), norm.variance_epsilon, dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The normalized tensor, in the shape of `x` and the precision of the matrix products that follow."""
        x = x.float()
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        return (x * mean_square.add_(self.epsilon).rsqrt_()).mul_(self.weight).to(self.dtype)


def can_speed_up(dtype: torch.dtype) -> bool:
    """Whether `speed_up` works here: this build of PyTorch has oneDNN, and this CPU supports the precision."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@functools.cache
def outruns_float32(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies faster in a precision than in float32, measured once in a process (about 0.1 s).

    Instructions do not tell: with AVX-512 BF16 and without AMX, an AMD EPYC was twice as fast in bfloat16 as in float32
    (benchmarks/results/speed), and an Intel Xeon half as fast. Near 1, two processes could judge differently.

    Args:
        dtype: the precision.
    """
    if not can_speed_up(dtype):
        return False
    layer = nn.Linear(576, 1536, bias=False)
    runs = [(PackedLinear(layer, each), torch.ones(ROWS, 576, dtype=each)) for each in (torch.float32, dtype)]
    # In turns, so that another program slows both; the fastest of each is the one that none has slowed.
    float32, other = (min(times) for times in zip(*([_seconds(*run) for run in runs] for _ in range(5)), strict=True))
    return other < float32


def _seconds(layer: PackedLinear, x: torch.Tensor) -> float:
    start = time.perf_counter()
    layer(x)
    return time.perf_counter() - start


def speed_up(model: Any, dtype: torch.dtype) -> None:
    """Replace the layers of a float32 model on a CPU by faster ones.

    Args:
        model: a causal language model of a tested family. The layers of its decoder are replaced in place.
        dtype: the precision of the matrix products; must be one that `can_speed_up` accepts.
    """
    decoder = model.get_decoder()
    # Without AMX, PyTorch's attention is faster in float32 than in bfloat16 (a fourth, on an AMD EPYC).
    attending = dtype if torch.cpu._is_amx_tile_supported() else torch.float32
    for layer in decoder.layers:
        attention = layer.self_attn
        project, out = (PackedLinear(part, dtype) for part in (joined(attention), attention.o_proj))
        layer.self_attn = Attention(attention, project, out, attending)
    decoder.layers[-1], decoder.rotary_emb = LastLayer(decoder.layers[-1]), Positions(decoder.rotary_emb)
    if model.config.tie_word_embeddings:  # of others, which are large, the packed weights would take as much again
        model.set_output_embeddings(Head(model.get_output_embeddings()))
    if model.config.hidden_act in ("silu", "swish"):
        _replace(decoder, lambda part: GatedMLP(part, dtype) if type(part).__name__.endswith("MLP") else None)
    _replace(decoder, lambda part: PackedLinear(part, dtype) if type(part) is nn.Linear else None)
    _replace(decoder, lambda part: RMSNorm(part, dtype) if type(part).__name__.endswith("RMSNorm") else None)
    if isinstance(decoder.norm, RMSNorm):
        decoder.norm.dtype = torch.float32  # logits are computed in float32


def _replace(model: nn.Module, faster: Callable[[nn.Module], nn.Module | None]) -> None:
    """Replace each layer for which `faster` returns a new one."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if type(part).__module__ == __name__:  # already a layer of this module
                continue
            replacement = faster(part)
            if replacement is not None:
                setattr(parent, name, replacement)
