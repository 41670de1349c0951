"""LimRank models as systems, with or without an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, ModelOptions
from limrank_ir.reranker import LimRank
from limrank_ir.store import VerdictStore
from limrank_ir.weights import identity

from .system import InstructedPair, Scorer, System, Work


def limrank_system(name: str, options: ModelOptions, store: Path, *, thoughts: bool = True) -> System:
    """A LimRank model.

    Args:
        name: a name from ``limrank models``, a folder or hub id, or ``NAME+ADAPTER``.
        options: how to run it; `prompt_format` is for models that ``limrank models`` does not list.
        store: the file for its verdicts.
        thoughts: whether that file keeps its reasoning.

    Returns:
        The system.

    Raises:
        InputError: the model is unknown, or the adapter's folder holds no adapter.
    """
    base, adapter = split_name(name)
    prompt_format = None if base in MODELS else options.get("prompt_format")
    chosen = options.copy()
    chosen["adapter"] = adapter
    chosen["prompt_format"] = prompt_format
    model = LimRank(base, **chosen)
    own_adapter = model.model.adapter
    think = f"{model.think} budget={0 if model.think == 'never' else model.budget}"
    if model.think == "auto":
        think += f" top={model.think_top} margin={model.think_margin:g}"

    def start() -> Scorer:
        model.load()  # not timed
        with_store = LimRank(
            base,
            adapter=adapter,
            prompt_format=prompt_format,
            engine=model.engine,
            think=model.think,
            think_top=model.think_top,
            think_margin=model.think_margin,
            budget=model.budget,
            store=VerdictStore(store, thoughts=thoughts),
        )
        return lambda pairs, advance: _score(with_store, pairs, advance)

    def fresh() -> Scorer:
        model.load()
        return lambda pairs, advance: _score(model, pairs, advance)

    return System(
        name=name,
        label=_label(base, adapter),
        identity=f"{model.engine.identity} {model.model.prompt_format} think={think}",
        weight=model.model.fuse,
        adapter=None if own_adapter is None else identity(own_adapter),
        start=start,
        reads="query and instruction",
        log_odds=True,
        fresh=fresh,
    )


def split_name(name: str) -> tuple[str, str | None]:
    """Split ``BASE+ADAPTER`` into base and adapter. A folder's own name may contain a +.

    Args:
        name: as for `limrank_system`.

    Returns:
        The model, and the adapter's folder or None.

    Raises:
        InputError: what follows the + is not the folder of an adapter.
    """
    if name in MODELS or Path(name).is_dir() or "+" not in name:
        return name, None
    for position, character in enumerate(name):
        base, adapter = name[:position], name[position + 1 :]
        if character != "+":
            continue
        if Path(adapter, "adapter_config.json").is_file():  # the base may be a hub id, of which nothing is here
            return base, adapter
        if base in MODELS or Path(base).is_dir():
            raise InputError(f"--system {name}: no adapter_config.json in {adapter}; give the folder of an adapter")
    return name, None


def _label(base: str, adapter: str | None) -> str:
    name = base if base in MODELS else Path(base).name
    return name if adapter is None else f"{name}+{Path(adapter).resolve().name}"


def _score(
    limrank: LimRank, pairs: Sequence[InstructedPair], advance: Callable[[int], None]
) -> tuple[list[float], Work]:
    verdicts = limrank.judge(pairs, progress=advance)
    tokens = tuple(verdict.prompt_tokens + verdict.reasoning_tokens for verdict in verdicts)
    work = Work(
        pairs=len(pairs),
        judged=limrank.stats.judged,
        seconds=limrank.stats.seconds,
        tokens=sum(tokens),
        cut=sum(verdict.cut_tokens > 0 for verdict in verdicts),
        cut_tokens=sum(verdict.cut_tokens for verdict in verdicts),
        forced=sum(verdict.finish != "verdict" for verdict in verdicts),
        pair_tokens=tokens,
    )
    return [verdict.log_odds for verdict in verdicts], work
