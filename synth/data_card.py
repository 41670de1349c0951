"""The data card: what the rows are, how they were made, what was dropped, and their license."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

from limrank_ir import __version__

from .config import SynthConfig
from .filters.leaks import Leak, passage_leak
from .pipeline import Synthesis
from .templates import NAMES, read_prompts


def data_card(result: Synthesis, config: SynthConfig) -> str:
    """Write the card, in Markdown with the metadata that Hugging Face reads.

    Args:
        result: a complete synthesis.
        config: its configuration.
    """
    pairs = result.pairs
    queries = {pair.query.id: pair.query for pair in pairs}.values()
    prompts = read_prompts(config.prompts)
    template = Template(Path(str(files(__package__) / "data_card.md")).read_text(encoding="utf-8"))
    return template.substitute(
        name=json.dumps(config.output.name),
        title=config.output.name,
        license=json.dumps(config.license or "other"),
        stated="No license is stated for these rows." if config.license is None else f"License: {config.license}.",
        about=f"\n{config.about.strip()}\n" if config.about else "",
        size=_size(len(pairs)),
        pairs=f"{len(pairs):,}",
        queries=f"{len(queries):,}",
        relevant=f"{sum(pair.label for pair in pairs):,}",
        generator=config.generator.model,
        judge=config.judge.model,
        samples=_samples(config),
        domains=_counts(query.brief.domain for query in queries),
        difficulties=_counts(query.brief.difficulty for query in queries),
        forms=_counts(query.brief.form for query in queries),
        kinds=_counts(pair.passage.kind for pair in pairs),
        losses="\n".join(f"| {step} | {reason} | {count:,} |" for step, reason, count in result.losses),
        content_leak=_leak(result.leak),
        leak=_leak(passage_leak(pairs, seed=config.seed)),
        prompts=", ".join(f"{name} {prompts.version(name)}" for name in NAMES),
        seed=config.seed,
        version=__version__,
    )


def _samples(config: SynthConfig) -> str:
    times = {1: "once", 2: "twice"}.get(config.samples, f"{config.samples} times")
    if config.samples > 1 and config.judge.greedy:
        return f"{times} with {config.judge.greedy}, which repeats one judgment, so that agreement means nothing"
    return times


def _leak(leak: Leak | None) -> str:
    return "too few to tell" if leak is None else f"{leak.auc:.2f} (standard error {leak.error:.2f})"


def _counts(names: Iterable[str]) -> str:
    return ", ".join(
        f"{name} {count:,}" for name, count in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    )


def _size(count: int) -> str:
    """Hugging Face's size category."""
    for most, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")):
        if count < most:
            return name
    return "100K<n<1M"
