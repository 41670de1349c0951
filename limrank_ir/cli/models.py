"""``limrank models``: the known models and the hardware they run well on."""

from __future__ import annotations

import dataclasses

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import write_json
from limrank_ir.models import MODELS, Model

GPU_SIZES = (6, 8, 12, 16, 24, 40, 48, 80)  # GB of memory of common GPUs


def list_models(as_json: o.Json = False) -> None:
    """List the models that are known by name; local folders and hub ids work, too.

    For example:

        limrank models
    """
    if as_json:
        write_json([{**dataclasses.asdict(model), "hardware": hardware(model)} for model in MODELS.values()])
    else:
        console.table(*model_table(), left=6)


def model_table() -> tuple[list[str], list[list[str]]]:
    """The table of all models: header and rows."""
    return ["name", "weights", "reads", "thinks", "size", "runs on"], [_row(model) for model in MODELS.values()]


def _row(model: Model) -> list[str]:
    size = "?" if model.parameters is None else f"{model.parameters:.2g}B"
    return [model.name, model.weights, model.prompt_format, model.think, size, hardware(model)]


def hardware(model: Model) -> str:
    """The hardware a model runs well on: two bytes per parameter (bfloat16), plus room for a batch's KV cache."""
    if model.parameters is None:
        return "?"
    if model.parameters < 1:
        return "CPU"
    needed = model.parameters * 2 * 1.2 + 2
    size = next((size for size in GPU_SIZES if size >= needed), round(needed))
    return f"GPU {size} GB"
