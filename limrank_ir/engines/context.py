"""How many tokens a model can read."""

from __future__ import annotations

import json

from limrank_ir.models import Model
from limrank_ir.weights import locate


def context_limit(model: Model, max_length: int | None) -> int:
    """The maximum number of tokens in a prompt with its thought.

    Args:
        model: the model.
        max_length: what the user asked for, or None.

    Returns:
        The least of that, the model's `context`, and the number of positions in its ``config.json``, which folders and
        hub ids are known by only when their files are here.

    Raises:
        InputError: the model's files are not available.
    """
    limits = [model.context] if max_length is None else [max_length, model.context]
    path = locate(model.weights, settings_only=True) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        limits += [
            int(part["max_position_embeddings"])
            for part in (config, config.get("text_config") or {})
            if "max_position_embeddings" in part
        ]
    except (OSError, ValueError, TypeError, AttributeError):
        pass  # what is wrong with the file is said when the model loads
    return min(limits)
