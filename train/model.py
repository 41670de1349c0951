"""The model to train: frozen weights with a LoRA adapter on top."""

from __future__ import annotations

from pathlib import Path
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoTokenizer

from limrank_ir.engines import packed
from limrank_ir.engines.base_models import UNREADABLE, causal_model, reason
from limrank_ir.errors import InputError

from .config import Lora, TrainConfig


def load_tokenizer(weights: Path, lora: Lora) -> Any:
    """Load the tokenizer and add the run's tokens.

    Args:
        weights: the model's folder.
        lora: the adapter, which names the tokens to add.

    Returns:
        The tokenizer.

    Raises:
        InputError: it is missing, or cannot be read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(weights)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{weights}: its tokenizer cannot be loaded ({str(error).splitlines()[0]})") from error
    if lora.add_tokens:
        tokenizer.add_tokens(list(lora.add_tokens))
    return tokenizer


def load_model(config: TrainConfig, weights: Path, tokenizer: Any, *, pack: bool) -> Any:
    """Load the weights and put an adapter on them.

    Args:
        config: the run.
        weights: the model's folder.
        tokenizer: with its added tokens.
        pack: whether batches will be packed.

    Returns:
        The PEFT model; only the adapter is trainable, and embeddings and head if `Lora.add_tokens` is set.

    Raises:
        InputError: the weights cannot be loaded, the adapter does not fit them, or quantization is not available.
    """
    packed.register()
    options: dict[str, Any] = {"dtype": getattr(torch, config.dtype)}
    if pack:
        options["attn_implementation"] = packed.NAME
    if config.quantize:
        options["quantization_config"] = _four_bit(getattr(torch, config.dtype))
    try:
        model = causal_model(weights, **options)
    except UNREADABLE as error:
        raise InputError(f"{weights}: cannot be loaded as a causal language model ({reason(error)})") from error
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        # Like LLaMA-Factory: only if the embeddings have no spare rows for the new tokens.
        model.resize_token_embeddings(len(tokenizer))
    if set(config.objectives) != {"traces"}:
        _use_float32_head(model)
    checkpointing = bool(config.training.get("gradient_checkpointing"))
    if config.quantize:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=checkpointing)
    elif checkpointing:
        model.enable_input_require_grads()
    count = model.config.num_hidden_layers
    for layer in config.lora.layers or ():
        if not 0 <= layer < count:
            raise InputError(f"lora.layers: the model has {count} layers, counted from 0; remove {layer}")
    try:
        return get_peft_model(model, lora_config(config.lora, model))
    except ValueError as error:
        raise InputError(f"lora: the adapter does not fit {weights} ({str(error).splitlines()[0]})") from error


def _use_float32_head(model: Any) -> None:
    """Compute logits in float32: log-odds are small differences of large numbers, too small for bfloat16's 8 bits."""
    head = model.get_output_embeddings()

    def forward(self: Any, hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.float()
            return torch.nn.functional.linear(hidden.float(), self.weight.float(), bias)

    head.forward = MethodType(forward, head)  # bound, so that PEFT's copy of the head uses the weights of the copy


def lora_config(lora: Lora, model: Any, task: str = "CAUSAL_LM") -> LoraConfig:
    """PEFT's configuration of an adapter.

    Args:
        lora: the run's settings.
        model: the base model.
        task: PEFT's task type; if the task needs a head, it is trained as well.

    Returns:
        PEFT's configuration.
    """
    saved = None
    if lora.add_tokens:
        names = {id(module): name.rsplit(".", 1)[-1] for name, module in model.named_modules()}
        saved = [names[id(model.get_input_embeddings())], names[id(model.get_output_embeddings())]]
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_targets(lora, model),
        layers_to_transform=list(lora.layers) if lora.layers is not None else None,
        modules_to_save=saved,
        task_type=task,
    )


def _targets(lora: Lora, model: Any) -> str | list[str]:
    """The modules to adapt; PEFT accepts ``layers`` only together with a list of module names."""
    if not isinstance(lora.targets, str):
        return list(lora.targets)
    if lora.targets != "all-linear" or lora.layers is None:
        return lora.targets
    modules = model.get_decoder().named_modules()
    return sorted({name.rsplit(".", 1)[-1] for name, module in modules if isinstance(module, torch.nn.Linear)})


def _four_bit(dtype: torch.dtype) -> Any:
    try:
        import bitsandbytes  # noqa: F401
        from transformers import BitsAndBytesConfig
    except ImportError as error:
        raise InputError("quantize: 4bit needs bitsandbytes and a GPU; run: pip install bitsandbytes") from error
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
