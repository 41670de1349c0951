"""How much of a run fits into a device's memory. Batches are halved if an estimate was too high."""

from __future__ import annotations

from typing import Any

TOKENS = (1024, 65_536)  # of a batch: fewer leave a GPU idle, more do not make it faster
SHARE = 2  # a batch may take one part of this many of the free memory


def tokens_that_fit(free: int, config: Any, itemsize: int) -> int:
    """How many tokens a batch may have.

    A layer's widest point is its MLP: a token's hidden state before and after it, three vectors of the intermediate
    size, and norms that compute in float32. Of the other layers, nothing is kept but keys and values.

    Args:
        free: bytes of free memory.
        config: the model's configuration.
        itemsize: bytes of a number.

    Returns:
        The number of tokens.
    """
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    kept = 2 * config.num_hidden_layers * hidden  # at most: fewer where heads share keys
    token = itemsize * (2 * hidden + 3 * inner + kept) + 8 * hidden
    return max(TOKENS[0], min(TOKENS[1], free // SHARE // token))


def free_memory(device: Any) -> int | None:
    """The free bytes of a GPU, or None if the device is another one."""
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
