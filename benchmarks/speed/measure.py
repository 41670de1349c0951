"""Pairs per second of a model: by transformers, by sentence-transformers, by LimRank, and the hardware's limit.

All are measured in turns on the same passages, so that their ratios hold on a noisy machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

from limrank_ir import __version__
from limrank_ir.cli import console
from limrank_ir.engines.batching import shared_length
from limrank_ir.engines.choice import choose_engine, engine_kind
from limrank_ir.engines.cpu import can_speed_up
from limrank_ir.engines.int8 import can_quantize
from limrank_ir.engines.local import LocalEngine
from limrank_ir.errors import InputError
from limrank_ir.extras import installed, need
from limrank_ir.models import DEFAULT, Model, resolve
from limrank_ir.prompts import CROSS_ENCODER as CLASSIFIER
from limrank_ir.prompts import PromptFormat
from limrank_ir.weights import locate

from ..machine import instruction_sets, processor
from .contenders import (
    CROSS_ENCODER,
    LIMIT,
    OURS,
    PLAIN,
    Contender,
    by_engine,
    cross_encoder,
    label_ids,
    plain_loop,
    plain_model,
    readable_format,
)
from .limit import Limit
from .passages import QUERY, Cell, grid

WARM_UP = 2  # passages
CPU_SAMPLE, GPU_SAMPLE = 4, 64  # on a CPU, a few take long enough; a GPU needs full batches


@dataclass(frozen=True)
class SpeedSettings:
    """What to measure.

    Attributes:
        lengths: keys of `limrank_ir.benchmarks.speed.passages.LENGTHS`.
        candidates: how many passages the query has.
        repeats: rounds; the fastest of each counts.
        sample: how many of the candidates a contender gets that reads the query again for each of them, because its
            rate does not depend on how many there are; None: `CPU_SAMPLE` or `GPU_SAMPLE`.
        dtypes: precisions; None: all that the machine computes fast.
        device: where to run; None: a GPU if there is one.
        batch_tokens: tokens in a batch of the local engine; None: the default.
        also: other engines: ``"vllm"``, or URLs of servers (`limrank_ir.models.ModelOptions.engine`).
        adapter: a PEFT adapter to use with the model.
        prompt_format: what a folder or hub id reads, if it does not say so itself.
    """

    lengths: Sequence[str] = ("short", "medium", "long")
    candidates: Sequence[int] = (10, 50)
    repeats: int = 1
    sample: int | None = None
    dtypes: Sequence[str] | None = None
    device: str | None = None
    batch_tokens: int | None = None
    also: Sequence[str] = ()
    adapter: str | None = None
    prompt_format: str | None = None


def measure(model_name: str = DEFAULT, settings: SpeedSettings | None = None) -> dict[str, Any]:
    """Measure all contenders in turns.

    Args:
        model_name: a model from `limrank_ir.models`: a causal one with two labels.
        settings: what to measure.

    Returns:
        The figures, with versions and hardware: ``cells`` (the grid of passage lengths and candidates), ``contenders``
        (for each: pairs per second in each cell, its ratio to the plain loop and to the limit of its precision, and the
        largest difference of its scores from the plain loop's in the first precision), and ``limits``.

    Raises:
        InputError: the model cannot be compared, a package is missing, or an option has an invalid value.
    """
    settings = settings or SpeedSettings()
    need("bench speed", "bench", "sentence_transformers")
    load = machine_load()
    spec = resolve(model_name, adapter=settings.adapter, prompt_format=settings.prompt_format)
    if spec.prompt_format == CLASSIFIER.name:
        raise InputError(f"--model {model_name}: a cross-encoder; bench speed compares causal models")
    fmt = readable_format(spec)
    device = LocalEngine(spec, device=settings.device).device
    dtypes = settings.dtypes or precisions(device)
    sample = settings.sample or (GPU_SAMPLE if device.type == "cuda" else CPU_SAMPLE)
    others = {name: choose_engine(name, spec, _asked(name, dtypes)) for name in dict.fromkeys(settings.also)}
    folder = locate(spec.weights)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    cells = grid(tokenizer, settings.lengths, settings.candidates)
    contenders, engines, limits, plains = [], {}, {}, {}
    for dtype in dict.fromkeys(dtypes):
        engines[dtype] = LocalEngine(spec, device=settings.device, dtype=dtype, batch_tokens=settings.batch_tokens)
        labels, beside = label_ids(engines[dtype], fmt), _beside(dtype)
        if beside not in plains:
            plains[beside] = plain = plain_model(spec, device, engines[dtype].dtype)
            contenders += [
                Contender(PLAIN, beside, plain_loop(plain, tokenizer, fmt, labels), shares=False),
                Contender(CROSS_ENCODER, beside, cross_encoder(plain, folder, fmt, labels), shares=False),
            ]
        for precision in (beside, dtype):
            if precision not in limits:
                limits[precision] = Limit(plains[beside], int8=precision == "int8")
        contenders.append(Contender(OURS, dtype, by_engine(engines[dtype], fmt), shares=True))
    contenders += [Contender(name, "", by_engine(engine, fmt), shares=True) for name, engine in others.items()]
    for contender in contenders:
        contender.run(QUERY, cells[0].texts[:WARM_UP])
    rates, gaps = _rounds(contenders, cells, limits, settings, sample)
    shared, read = _tokens(engines[dtypes[0]], fmt, cells)
    return _figures(
        model_name, spec, settings, sample, device, cells, contenders, rates, gaps, limits, shared, read, load
    )


def precisions(device: torch.device) -> list[str]:
    """The precisions in which a device computes fast, the most exact one first on a CPU, the usual one on a GPU."""
    if device.type == "cuda":
        return [*(["bfloat16"] if torch.cuda.is_bf16_supported() else []), "float16", "float32"]
    bfloat16, int8 = can_speed_up(torch.bfloat16), can_quantize()
    return ["float32", *(["bfloat16"] if bfloat16 else []), *(["int8"] if int8 else [])]


def _beside(precision: str) -> str:
    """The precision of transformers and sentence-transformers beside one of ours: they have no int8."""
    return "float32" if precision == "int8" else precision


def machine_load() -> float | None:
    """How many programs want a core, on average over the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def engines_here() -> list[str]:
    """The other engines that are installed and need no address."""
    return ["vllm"] if installed("vllm") else []


def _asked(name: str, dtypes: Sequence[str]) -> dict[str, Any]:
    return {"dtype": _beside(dtypes[0])} if engine_kind(name) == "vllm" else {}


def _rounds(
    contenders: Sequence[Contender],
    cells: Sequence[Cell],
    limits: dict[str, Limit],
    settings: SpeedSettings,
    sample: int,
) -> tuple[dict[tuple[str, int], float], dict[str, float]]:
    """Run everything in turns.

    Returns:
        Pairs per second by contender and cell, and each contender's largest difference from the reference's scores.
    """
    rates: dict[tuple[str, int], float] = {}
    gaps: dict[str, float] = {}
    shared = sum(contender.shares for contender in contenders)
    rounds = len(limits) + len(cells) * shared + len({cell.length for cell in cells}) * (len(contenders) - shared)
    steps = settings.repeats * rounds
    with console.progress("measuring", steps, "runs") as advance:
        for turn in range(settings.repeats):
            for limit in limits.values():
                limit.measure()
                advance(1)
            for number, cell in enumerate(cells):
                # Each run has a query of its own: engines that keep prefixes must not know it from the last one.
                query = f"{QUERY} ({turn}.{number})"
                same = [other for other in range(len(cells)) if cells[other].length == cell.length]
                reference: dict[int, float] = {}
                for contender in contenders:
                    if contender.shares:
                        chosen, measured = list(range(len(cell.texts))), [number]
                    elif number == same[-1]:  # the one with the most candidates: the rate is that of all of them
                        chosen, measured = cell.spread(sample), same
                    else:
                        continue
                    scores, seconds = timed(contender.run, query, [cell.texts[index] for index in chosen])
                    for each in measured:
                        rate = len(chosen) / seconds
                        rates[contender.name, each] = max(rate, rates.get((contender.name, each), 0.0))
                    found = dict(zip(chosen, scores.tolist(), strict=True))
                    if number == same[-1]:
                        reference = reference or found  # the plain loop's, which comes first
                        gap = max(abs(found[index] - reference[index]) for index in found.keys() & reference.keys())
                        gaps[contender.name] = max(gap, gaps.get(contender.name, 0.0))
                    advance(1)
    return rates, gaps


def timed(run: Callable[..., np.ndarray], query: str, texts: Sequence[str]) -> tuple[np.ndarray, float]:
    """Scores, and the seconds that they took."""
    started = time.perf_counter()
    scores = run(query, texts)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return scores, time.perf_counter() - started


def _tokens(engine: LocalEngine, fmt: PromptFormat, cells: Sequence[Cell]) -> tuple[list[int], list[int]]:
    """For each cell, the tokens that all passages share, and those that are left to read if these are read once."""
    shared, read = [], []
    for number, cell in enumerate(cells):
        prompts = [fmt.render(f"{QUERY} (0.{number})", text) for text in cell.texts]
        ids = [tokens.ids for tokens in engine._loaded.tokenizer.encode(prompts, engine.max_length)]
        shared.append(int(shared_length(ids)))
        read.append(sum(map(len, ids)) - shared[-1] * (len(ids) - 1))
    return shared, read


def _figures(
    model_name: str,
    spec: Model,
    settings: SpeedSettings,
    sample: int,
    device: torch.device,
    cells: Sequence[Cell],
    contenders: Sequence[Contender],
    rates: dict[tuple[str, int], float],
    gaps: dict[str, float],
    limits: dict[str, Limit],
    shared: list[int],
    read: list[int],
    load: float | None,
) -> dict[str, Any]:
    """Everything that is reported, unrounded."""
    numbers = range(len(cells))
    bounds = {
        dtype: [len(cells[number].texts) / limit.seconds(read[number]) for number in numbers]
        for dtype, limit in limits.items()
    }
    rows = []
    for contender in contenders:
        precision = contender.precision or _beside(next(iter(limits)))
        own = [rates[contender.name, number] for number in numbers]
        rows.append(
            {
                "kind": contender.kind,
                "precision": precision,
                "pairs_per_second": own,
                "to_plain": [own[number] / rates[f"{PLAIN} {_beside(precision)}", number] for number in numbers],
                "of_limit": [own[number] / bounds[precision][number] for number in numbers],
                "largest_score_difference": gaps[contender.name],
            }
        )
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "model": model_name,
        "adapter": settings.adapter,
        "repeats": settings.repeats,
        "sample": sample,
        "cells": [
            {
                "length": cell.length,
                "candidates": len(cell.texts),
                "passage_tokens": {
                    "shortest": min(cell.tokens),
                    "mean": sum(cell.tokens) / len(cell.tokens),
                    "longest": max(cell.tokens),
                },
                "shared_tokens": shared[number],
                "read_tokens": read[number],
            }
            for number, cell in enumerate(cells)
        ],
        "contenders": rows,
        "limits": [
            {
                "kind": LIMIT,
                "precision": dtype,
                "pairs_per_second": bounds[dtype],
                "flops": limit.flops,
                "kernels": limit.kernels,
            }
            for dtype, limit in limits.items()
        ],
        "texts": hashlib.sha256("\0".join(text for cell in cells for text in cell.texts).encode()).hexdigest(),
        "peak_memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "device": str(device),
        "load_before": load,
        "threads": torch.get_num_threads(),
        "hardware": hardware,
        "instruction_sets": instruction_sets(),
        "kernels_of_torch": torch.backends.cpu.get_cpu_capability(),
        "kernels_of_onednn": os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA"),
        "versions": {
            "limrank-ir": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            **({"vllm": _version("vllm")} if "vllm" in settings.also else {}),
            "sentence-transformers": _version("sentence-transformers"),
            "python": platform.python_version(),
        },
    }


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
