"""``limrank models``: what is known by name, and what it runs well on."""

from __future__ import annotations

import dataclasses

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import write_json
from limrank_ir.models import MODELS, Model

GPU_SIZES = (6, 8, 12, 16, 24, 40, 48, 80)  # GB, as they are sold


def list_models(as_json: o.Json = False) -> None:
    """List the models that are known by name; folders and hub ids work, too.

    For example:

        limrank models
    """
    if as_json:
        write_json([{**dataclasses.asdict(model), "hardware": hardware(model)} for model in MODELS.values()])
    else:
        console.table(*model_table(), left=6)


def model_table() -> tuple[list[str], list[list[str]]]:
    """Lay out all models: header and rows."""
    return ["name", "weights", "reads", "thinks", "size", "runs on"], [_row(model) for model in MODELS.values()]


def _row(model: Model) -> list[str]:
    size = "?" if model.parameters is None else f"{model.parameters:.2g}B"
    return [model.name, model.weights, model.prompt_format, model.think, size, hardware(model)]


def hardware(model: Model) -> str:
    """What a model runs well on: in bfloat16 two bytes a parameter, and room for a batch's keys and values."""
    if model.parameters is None:
        return "?"
    if model.parameters < 1:
        return "CPU"
    needed = model.parameters * 2 * 1.2 + 2
    return f"GPU {next((size for size in GPU_SIZES if size >= needed), round(needed))} GB"
