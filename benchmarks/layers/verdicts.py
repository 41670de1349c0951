"""The verdict that each layer would give: its output, through the last norm and the rows of the labels (logit lens)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from limrank_ir.engines.context import context_limit
from limrank_ir.engines.formats import model_format
from limrank_ir.engines.loading import load
from limrank_ir.engines.packed import Packing
from limrank_ir.errors import InputError
from limrank_ir.models import resolve
from limrank_ir.prompts import Prompt
from limrank_ir.weights import locate


class LayerVerdicts:
    """A model on the CPU, in float32, that tells its log-odds after each layer.

    Args:
        model: its name, a folder, or a hub id.
        adapter: the folder of another adapter, or None.
        prompt_format: how a folder or hub id is read that does not say it.

    Raises:
        InputError: it is unknown, cannot be loaded, or does not say true or false.
    """

    def __init__(self, model: str, adapter: str | None = None, prompt_format: str | None = None) -> None:
        found = resolve(model, adapter=adapter, prompt_format=prompt_format)
        self.fmt = model_format(found)
        if len(self.fmt.labels) != 2:
            raise InputError(f"{model}: bench layers needs a model with two labels, true and false")
        self._limit = context_limit(found, None)
        own = None if found.adapter is None else locate(found.adapter)
        self._loaded = load(locate(found.weights), own, self.fmt, torch.device("cpu"), torch.float32, base=found.base)
        self._outputs: list[torch.Tensor] = []
        for layer in self._loaded.model.get_decoder().layers:
            layer.register_forward_hook(self._keep, with_kwargs=True)

    def _keep(self, _: Any, __: Any, given: dict[str, Any], output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        self._outputs.append(given["packing"].last_of(hidden[0]))

    def log_odds(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """Judge passages in one batch.

        Args:
            prompts: the prompts of one query's candidates.

        Returns:
            Log-odds ``[layers, prompts]`` in nats. The last row is the model's verdict.
        """
        loaded = self._loaded
        ids = [tokens.ids for tokens in loaded.tokenizer.encode(list(prompts), self._limit)]
        self._outputs.clear()
        loaded.run(ids, Packing(list(map(len, ids)), device=loaded.device))
        norm, labels = loaded.model.get_decoder().norm, loaded.tokenizer.label_ids
        with torch.inference_mode():
            read = [[scores.logits for scores in loaded.read(norm(hidden), labels)] for hidden in self._outputs]
        return np.array(read) @ (1.0, -1.0)
