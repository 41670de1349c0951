"""Pairs per second: a plain transformers loop, LimRank, and the limit set by the matrix products alone.

All are measured in turns on the same pairs, so that their ratios hold on a noisy machine.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from peft import PeftModel
from rich.console import Console
from rich.table import Table

from limrank_ir import __version__
from limrank_ir.demo.collection import passages
from limrank_ir.engines import Engine, Label
from limrank_ir.engines.choice import choose_engine, engine_kind
from limrank_ir.engines.local import LocalEngine
from limrank_ir.errors import InputError
from limrank_ir.models import resolve
from limrank_ir.prompts import Prompt, prompt_format
from limrank_ir.verdict import Verdict
from limrank_ir.weights import locate

from ..machine import processor

QUERY = (
    "My script sometimes leaves half a file behind when the power goes. The next start then reads garbage and "
    "crashes. How do I make sure that what I wrote is on disk before I go on?"
)
PLAIN_BATCH = 16
SEED = 7


def sample(tokenizer: Any, count: int) -> list[str]:
    """Passages of 20 to 540 tokens from the demo's collection, in its natural mix of lengths."""
    texts = [passage.text for passage in passages()]
    random.Random(SEED).shuffle(texts)
    chosen = []
    for text in texts:
        if 20 <= len(tokenizer(text).input_ids) <= 540:
            chosen.append(text)
            if len(chosen) == count:
                return chosen
    raise InputError(f"--pairs {count}: only {len(chosen)} passages in the collection have 20 to 540 tokens; use fewer")


def plain_loop(model: Any, tokenizer: Any, texts: list[str], labels: tuple[int, int]) -> np.ndarray:
    """What a careful user writes with transformers alone: padded batches, logits of the last position."""
    scores: list[float] = []
    for start in range(0, len(texts), PLAIN_BATCH):
        batch = tokenizer(texts[start : start + PLAIN_BATCH], padding=True, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            last = model(**batch).logits[:, -1].double()
        scores += (last[:, labels[0]] - last[:, labels[1]]).tolist()
    return np.array(scores)


def by_engine(engine: Engine, prompts: list[Prompt], labels: Sequence[Label]) -> np.ndarray:
    """One of LimRank-IR's engines."""
    scores = np.zeros(len(prompts))
    for batch in engine.read_labels(prompts, labels, think=False, budget=1):
        for index, reading in batch:
            scores[index] = Verdict.of(reading).log_odds
    return scores


def product_seconds(model: Any, tokens: int) -> float:
    """Seconds for the layers' matrix products over some tokens, at the best rate measured for each shape."""
    weights = [
        module.weight
        for name, module in model.get_decoder().named_modules()
        if isinstance(module, torch.nn.Linear) and "embed" not in name
    ]
    seconds = 0.0
    rows = 2048
    for shape in {tuple(weight.shape) for weight in weights}:
        same = [weight for weight in weights if tuple(weight.shape) == shape]
        x = torch.randn(rows, shape[1], dtype=same[0].dtype, device=same[0].device)
        best = min(timed(partial(torch.nn.functional.linear, x, same[0])) for _ in range(8))
        seconds += best * len(same) * tokens / rows
    return seconds


def _keep(scores: dict[str, np.ndarray], name: str, run: Callable[[], np.ndarray]) -> None:
    scores[name] = run()


def timed(work: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(
    model_name: str,
    pairs: int,
    repeats: int,
    device: str | None,
    dtype: str | None,
    batch_tokens: int | None,
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure all three in turns, and other engines beside them.

    Args:
        model_name: a model from `limrank_ir.models`.
        pairs: passages for the one query.
        repeats: rounds; the fastest of each counts.
        device: where to run; None: a GPU if there is one.
        dtype: precision; None: the device's default.
        batch_tokens: tokens in a batch of the local engine; None: the default.
        also: other engines to measure: ``"vllm"``, or URLs of servers (`limrank_ir.models.ModelOptions.engine`).

    Returns:
        The figures, with versions and hardware.
    """
    spec = resolve(model_name)
    fmt = prompt_format(spec.prompt_format)
    engine = LocalEngine(spec, device=device, dtype=dtype, batch_tokens=batch_tokens)
    folder = locate(spec.weights)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    texts = sample(tokenizer, pairs)

    def prompts_of(turn: int) -> list[Prompt]:
        """Each turn has a query of its own: engines that keep prefixes must not know its passages from the last one."""
        return [fmt.render(f"{QUERY} ({turn})", text) for text in texts]

    prompts = prompts_of(0)
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=engine.dtype).to(engine.device).eval()
    if spec.adapter is not None:
        plain = PeftModel.from_pretrained(plain, spec.adapter).merge_and_unload()

    by_engine(engine, prompts[:4], fmt.labels)
    asked = {"dtype": dtype} if dtype else {}
    others = {name: choose_engine(name, spec, asked if engine_kind(name) == "vllm" else {}) for name in also}
    for other in others.values():
        by_engine(other, prompts[:4], fmt.labels)
    loaded = engine._loaded
    labels = (loaded.tokenizer.label_ids[0], loaded.tokenizer.label_ids[1])
    plain_loop(plain, tokenizer, [prompt.text for prompt in prompts[:2]], labels)
    lengths = [len(tokens.ids) for tokens in loaded.tokenizer.encode(prompts, spec.context)]
    prefix = len(loaded.tokenizer.encode([Prompt(prompts[0].prefix, "", "")], spec.context)[0].ids) - 1
    unique = sum(lengths) - prefix * (pairs - 1)

    seconds: dict[str, list[float]] = {name: [] for name in ("plain", "ours", *others, "limit")}
    scores: dict[str, np.ndarray] = {}
    for turn in range(1, repeats + 1):
        prompts = prompts_of(turn)
        whole = [prompt.text for prompt in prompts]
        work = {"plain": partial(plain_loop, plain, tokenizer, whole, labels)}
        for name, each in {"ours": engine, **others}.items():
            work[name] = partial(by_engine, each, prompts, fmt.labels)
        seconds["limit"].append(product_seconds(plain, unique))
        for name, run in work.items():
            seconds[name].append(timed(partial(_keep, scores, name, run)))
    rates = {name: pairs / min(times) for name, times in seconds.items()}
    return {
        "model": model_name,
        "pairs": pairs,
        "repeats": repeats,
        "passage_tokens": {
            "shortest": min(lengths) - prefix,
            "mean": round(float(np.mean(lengths)) - prefix, 1),
            "longest": max(lengths) - prefix,
        },
        "prefix_tokens": prefix,
        "pairs_per_second": {name: round(value, 3) for name, value in rates.items()},
        "ours_to_plain": round(rates["ours"] / rates["plain"], 2),
        "ours_to_limit": round(rates["ours"] / rates["limit"], 3),
        "largest_score_difference": float(np.abs(scores["plain"] - scores["ours"]).max()),
        "score_differences": {name: float(np.abs(scores["plain"] - scores[name]).max()) for name in others},
        "peak_memory": torch.cuda.max_memory_allocated(engine.device) if engine.device.type == "cuda" else None,
        "device": str(engine.device),
        "dtype": str(engine.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "hardware": torch.cuda.get_device_name() if engine.device.type == "cuda" else processor(),
        "versions": {
            "limrank-ir": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }


def show(figures: dict[str, Any]) -> None:
    """Print the comparison as a table.

    Args:
        figures: what `measure` returned.
    """
    rates = figures["pairs_per_second"]
    table = Table(title=f"{figures['model']}: {figures['pairs']} passages for one query")
    for column in ("", "pairs/s", "vs. plain loop", "of limit"):
        table.add_column(column, justify="left" if not column else "right")
    labels = {
        "plain": f"plain transformers loop, batches of {PLAIN_BATCH}",
        "ours": "LimRank-IR, local engine",
        **{name: f"LimRank-IR, {name}" for name in figures["score_differences"]},
        "limit": "matrix products alone (limit)",
    }
    for name, label in labels.items():
        row = [f"{rates[name]:.2f}", f"{rates[name] / rates['plain']:.2f}x", f"{rates[name] / rates['limit']:.0%}"]
        table.add_row(label, *row)
    console = Console()
    console.print(table)
    lengths, versions = figures["passage_tokens"], figures["versions"]
    console.print(
        f"passages of {lengths['shortest']}-{lengths['longest']} tokens (mean {lengths['mean']}) after a prefix of "
        f"{figures['prefix_tokens']}; largest score difference {figures['largest_score_difference']:.1e}\n"
        f"{figures['device']} ({figures['hardware']}), {figures['dtype']}, {figures['threads']} threads; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "".join(f"; {name}: scores differ by {gap:.1e}" for name, gap in figures["score_differences"].items())
        + (f"; peak memory {figures['peak_memory'] / 2**30:.1f} GiB" if figures["peak_memory"] else ""),
        highlight=False,
    )
