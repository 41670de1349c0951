"""``limrank models``: the known models and the hardware they run well on."""

from __future__ import annotations

import dataclasses

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import write_json
from limrank_ir.models import ENGINE_OPTIONS, IN_FOLDER, MODELS, Model
from limrank_ir.prompts import CROSS_ENCODER, FORMATS, SETS
from limrank_ir.prompts.sets import SET_FORMATS

GPU_SIZES = (6, 8, 12, 16, 24, 40, 48, 80)  # GB of memory of common GPUs


def list_models(as_json: o.Json = False) -> None:
    """List the models that are known by name; local folders and hub ids work, too.

    Engines: local, vllm, and server, which are `--engine URL`. The ranker is the one that a model was made for: those
    with another one than pointwise need `limrank rerank --ranker`.

    For example:

        limrank models
    """
    if as_json:
        write_json(
            [
                {**dataclasses.asdict(model), "engines": engines_for(model), "hardware": hardware(model)}
                for model in MODELS.values()
            ]
        )
    else:
        console.table(*model_table(), left=8)


def model_table() -> tuple[list[str], list[list[str]]]:
    """The table of all models: header and rows."""
    header = ["name", "weights", "reads", "thinks", "engines", "size", "runs on", "ranker"]
    return header, [_row(model) for model in MODELS.values()]


def _row(model: Model) -> list[str]:
    size = "?" if model.parameters is None else f"{model.parameters:.2g}B"
    engines = ", ".join(engines_for(model)) if len(engines_for(model)) < len(ENGINE_OPTIONS) else "all"
    reads, thinks = model.prompt_format, str(model.think)
    if model.set_format is not None:
        reads, thinks = model.set_format, "always" if SET_FORMATS[model.set_format].thinks else "never"
    weights = model.weights if model.prompt_format != SETS.name or model.adapter is None else model.adapter
    return [model.name, weights, reads, thinks, engines, size, hardware(model), model.ranker or "pointwise"]


def engines_for(model: Model) -> list[str]:
    """The engines that can run a model: servers give no raw logits, and cross-encoders are run by the local one."""
    if model.prompt_format == CROSS_ENCODER.name:
        return ["local"]
    # A model whose folder says how it is read may have one label; that is known when its files are here.
    if model.prompt_format == IN_FOLDER or len(FORMATS[model.prompt_format].labels) == 1:
        return ["local", "vllm"]
    return ["local", "vllm", "server"]


def hardware(model: Model) -> str:
    """The hardware a model runs well on: two bytes per parameter (bfloat16), plus room for a batch's KV cache."""
    if model.parameters is None:
        return "?"
    if model.parameters < 1:
        return "CPU"
    needed = model.parameters * 2 * 1.2 + 2
    size = next((size for size in GPU_SIZES if size >= needed), round(needed))
    return f"GPU {size} GB"
