"""Load a sequence classifier with one label, packed if its family allows it."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limrank_ir.engines.base_models import OVERRIDE, UNREADABLE, classifier_model, reason
from limrank_ir.engines.cpu import PackedLinear, can_speed_up
from limrank_ir.engines.out_of_memory import out_of_memory
from limrank_ir.engines.packed_encoder import first_position, pack, packed_logits
from limrank_ir.engines.pair_tokens import PairTokenizer, PairTokens
from limrank_ir.errors import EngineError, InputError


@dataclass(frozen=True)
class Classifier:
    """A cross-encoder that is ready to run.

    Attributes:
        model: the sequence classifier.
        tokenizer: encodes pairs.
        limit: the maximum number of tokens in a pair that the model has positions for.
        types: whether the model reads token types.
        packed: whether it runs packed batches; else batches are padded, and the model runs as its authors wrote it.
    """

    model: Any
    tokenizer: PairTokenizer
    limit: int
    types: bool
    packed: bool

    @torch.inference_mode()
    def logits(self, pairs: Sequence[PairTokens]) -> list[float]:
        """The logit of each pair."""
        rows = [{"input_ids": pair.ids, **({"token_type_ids": pair.types} if self.types else {})} for pair in pairs]
        if self.packed:
            logits = packed_logits(self.model, rows, self.model.device)
        else:
            logits = self.model(**self._padded(rows)).logits
        return logits[:, 0].double().tolist()

    def _padded(self, rows: Sequence[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
        columns = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": self.model.config.pad_token_id or 0}
        batch = {
            name: np.stack([np.pad(row[name], (0, columns - len(row[name])), constant_values=value) for row in rows])
            for name, value in ((name, fill.get(name, 0)) for name in rows[0])
        }
        lengths = np.array([len(row["input_ids"]) for row in rows])
        batch["attention_mask"] = (np.arange(columns) < lengths[:, None]).astype(np.int64)
        return {name: torch.from_numpy(values).to(self.model.device) for name, values in batch.items()}


def load_classifier(
    weights: Path, device: torch.device, dtype: torch.dtype, *, allow_mismatch: bool = False
) -> Classifier:
    """Load a cross-encoder from a local folder.

    Args:
        weights: the folder of a transformers sequence classifier with one label.
        device: the device to run on.
        dtype: precision.
        allow_mismatch: see `limrank_ir.engines.base_models`; also load a model with a chat template, without using it.

    Returns:
        The model, ready to run.

    Raises:
        InputError: a file is missing or broken, tensors are missing or unexpected, it has more than one label, or it
            reads pairs through a chat template.
        EngineError: memory runs out.
    """
    from transformers import AutoTokenizer

    # Without this, the garbage collector walks all objects of torch and transformers at exit, which takes a second.
    atexit.register(gc.freeze)
    try:
        # trust_remote_code stays off: weights are data and must not run code.
        model = classifier_model(weights, allow_mismatch=allow_mismatch, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(weights)
    except UNREADABLE as error:
        if out_of_memory(error):
            raise EngineError(f"{weights}: not enough memory to load it as {dtype}; choose a smaller model") from error
        raise InputError(f"{weights}: cannot be loaded as a sequence classifier ({reason(error)})") from error
    if tokenizer.chat_template is not None and not allow_mismatch:
        # sentence-transformers 5.4 and later puts pairs through the template (base/modality.py), others do not.
        raise InputError(
            f"{weights}: a classifier with a chat template, which cross-encoders here do not use; if it was trained on "
            f"tokenizer(query, passage), set {OVERRIDE}"
        )
    model = model.to(device).eval().requires_grad_(False)
    packed = pack(model)
    if packed and device.type == "cpu" and dtype == torch.float32 and can_speed_up(dtype):
        _speed_up(model)
    positions = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length) - first_position(model)
    return Classifier(
        model=model,
        tokenizer=PairTokenizer(tokenizer),
        limit=min(positions, tokenizer.model_max_length),
        types="token_type_ids" in tokenizer.model_input_names,
        packed=packed,
    )


def _speed_up(model: Any) -> None:
    """Replace the linear layers by oneDNN's packed ones, as in `limrank_ir.engines.cpu`."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is torch.nn.Linear:
                setattr(parent, name, PackedLinear(part, torch.float32))
