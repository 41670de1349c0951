"""Refuse models whose folder lacks tensors: transformers fills them with random numbers and only warns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limrank_ir.engines.base_models import no_warnings, tensor_names
from limrank_ir.errors import InputError
from limrank_ir.weights import without_bars

UNUSED = "pooler."  # BERT's, which sentence encoders with a pooling of their own do not read


def check_complete(model: Any, folder: Path, who: str, *, pooler: bool = True) -> None:
    """Compare a loaded model with its folder. No weights are read: they stay on PyTorch's meta device.

    Args:
        model: a transformers model that a library has loaded from the folder.
        folder: where its weights are.
        who: the option and its value, for the error message.
        pooler: whether the model's own pooler is used.

    Raises:
        InputError: tensors that the model needs are not in the folder.
    """
    with without_bars(), no_warnings():
        _, found = type(model).from_pretrained(folder, config=model.config, device_map="meta", output_loading_info=True)
    missing = {name for name in found["missing_keys"] if pooler or not name.startswith(UNUSED)}
    if missing:
        raise InputError(f"{who}: {folder} lacks {tensor_names(missing)}; the scores would be random numbers")


def weights_folder(folder: Path) -> Path:
    """Where a sentence-transformers folder has the weights: mostly in itself, in old ones in ``0_Transformer``."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return folder
    try:
        return folder / json.loads(modules.read_text(encoding="utf-8"))[0]["path"]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{modules}: not a list of modules ({error}); save the model again") from error
