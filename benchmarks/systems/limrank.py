"""LimRank models as systems, with or without an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from limrank_ir.engines import Engine
from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, ModelOptions
from limrank_ir.reranker import LimRank
from limrank_ir.store import VerdictStore
from limrank_ir.weights import identity

from .system import InstructedPair, Scorer, System, Work


class LastEngine:
    """Keeps the engine that was loaded last, and no other: systems with the same model load it once."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._key: tuple[str, str] | None = None

    def loaded(self, model: LimRank) -> Engine:
        """The engine of a model, or one like it that is already loaded.

        Args:
            model: the model; as it may be loaded, it must not be kept.

        Raises:
            LimRankError: it cannot be loaded.
        """
        key = (model.engine.identity, model.model.prompt_format)
        if self._engine is None or key != self._key:
            self._engine = None  # before the next one is loaded, its memory is free
            model.load()
            self._engine, self._key = model.engine, key
        return self._engine


def limrank_system(name: str, options: ModelOptions, store: Path, last: LastEngine, *, thoughts: bool = True) -> System:
    """A LimRank model.

    Args:
        name: a name from ``limrank models``, a folder or hub id, or ``NAME+ADAPTER``.
        options: how to run it; `prompt_format` is for models that ``limrank models`` does not list.
        store: the file for its verdicts.
        last: keeps its engine loaded until a system has another one.
        thoughts: whether that file keeps its reasoning.

    Returns:
        The system.

    Raises:
        InputError: the model is unknown, or the adapter's folder holds no adapter.
    """
    found = named(name, options, store, last, thoughts=thoughts)
    model = found.model
    think = f"{model.think} budget={0 if model.think == 'never' else model.budget}"
    if model.think == "auto":
        think += f" top={model.think_top} margin={model.think_margin:g}"

    def scorer(*, stored: bool) -> Scorer:
        limrank = found.load(stored=stored)
        return lambda pairs, advance: _score(limrank, pairs, advance)

    return System(
        name=name,
        label=found.label,
        identity=f"{model.engine.identity} {model.model.prompt_format} think={think}",
        weight=model.model.fuse,
        adapter=found.adapter,
        start=lambda: scorer(stored=True),
        reads="query and instruction",
        log_odds=True,
        fresh=lambda: scorer(stored=False),
    )


class Load(Protocol):
    """Loads a model."""

    def __call__(self, *, stored: bool) -> LimRank:
        """Load it, with the store of the benchmark, or without one."""


@dataclass(frozen=True)
class Named:
    """A LimRank model by its name.

    Attributes:
        label: its name in tables.
        model: the model, to ask what it is. It is not loaded.
        adapter: the content hash of its adapter, or None.
        load: loads it, which is not timed, and returns it, with the store or without.
    """

    label: str
    model: LimRank
    adapter: str | None
    load: Load


def named(name: str, options: ModelOptions, store: Path, last: LastEngine, *, thoughts: bool = True) -> Named:
    """Find a LimRank model. The arguments and errors are those of `limrank_system`."""
    base, adapter = split_name(name)
    prompt_format = None if base in MODELS else options.get("prompt_format")
    chosen = options.copy()
    chosen["adapter"] = adapter
    chosen["prompt_format"] = prompt_format
    model = LimRank(base, **chosen)
    own_adapter = model.model.adapter

    def load(*, stored: bool) -> LimRank:
        return LimRank(
            base,
            adapter=adapter,
            prompt_format=prompt_format,
            engine=last.loaded(LimRank(base, **chosen)),
            think=model.think,
            think_top=model.think_top,
            think_margin=model.think_margin,
            budget=model.budget,
            store=VerdictStore(store, thoughts=thoughts) if stored else None,
        )

    content = None if own_adapter is None else identity(own_adapter)
    return Named(_label(base, adapter), model, content, load)


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
