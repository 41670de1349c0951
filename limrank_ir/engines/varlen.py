"""Attention over a packed batch without a padded view, where PyTorch has a kernel for it."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch

HEAD_SIZES = range(8, 257, 8)  # of the Flash Attention kernels


@cache
def kernel() -> Any | None:
    """PyTorch's attention for sequences of different lengths, or None if this version has none that we can use."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    return varlen_attn if {"enable_gqa", "window_size", "num_splits"} <= set(known) else None


def usable(query: torch.Tensor) -> bool:
    """Whether the kernel takes these queries: half precision, an NVIDIA GPU of 2020 or later, and no gradient.

    Args:
        query: ``[1, heads, tokens, head size]``.
    """
    return (
        query.device.type == "cuda"
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] in HEAD_SIZES
        and not query.requires_grad
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and kernel() is not None
    )


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_starts: torch.Tensor,
    key_starts: torch.Tensor,
    longest: tuple[int, int],
    *,
    scaling: float,
    window: int | None,
) -> torch.Tensor:
    """Causal attention of packed sequences. The last query of a sequence stands at its last key.

    Args:
        query: ``[tokens, heads, head size]``.
        key: ``[key tokens, key heads, head size]``: each sequence's prefix and its new tokens.
        value: like `key`.
        query_starts: int32 ``[sequences + 1]``: where each sequence's queries begin, and their number.
        key_starts: the same for its keys.
        longest: the most queries and the most keys of a sequence.
        scaling: the factor on the products of queries and keys.
        window: how many tokens back a token may attend to, itself included, or None for no limit.

    Returns:
        ``[tokens, heads, head size]``.
    """
    attend = kernel()
    assert attend is not None
    return attend(
        query,
        key,
        value,
        query_starts,
        key_starts,
        *longest,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=True,
        num_splits=1,  # a score then does not depend on the other sequences of the batch
    )
