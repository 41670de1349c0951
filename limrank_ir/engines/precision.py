"""The precision that ``dtype`` means on a machine."""

from __future__ import annotations

from pathlib import Path

import torch

from limrank_ir.engines.base_models import UNREADABLE
from limrank_ir.engines.cpu import outruns_float32
from limrank_ir.engines.loading import TESTED_FAMILIES


def chosen_precision(asked: str | None, device: torch.device, weights: Path) -> str:
    """Choose a precision. Verdicts depend on it, so it is the same on a machine unless two of them are about as fast.

    Args:
        asked: one of `limrank_ir.models.PRECISIONS`; None: float32 on a CPU, half precision on a GPU.
        device: the device that the model runs on.
        weights: the folder of the model.

    Returns:
        One of them but ``"auto"``. For that, the fastest one that hardly changes rankings: half precision on a GPU; on
        a CPU bfloat16 if it multiplies that faster, else float32. It never is int8, which moves close passages.
    """
    if asked not in (None, "auto"):
        return asked
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if asked is None or device.type != "cpu":
        return "float32"
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(weights)
    except UNREADABLE:
        return "float32"  # loading says what is wrong
    fast = config.model_type in TESTED_FAMILIES and outruns_float32(torch.bfloat16)
    return "bfloat16" if fast else "float32"
