"""Systems by name: a LimRank model, with an adapter or without, a dense retriever, a cross-encoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.model_options import ModelOptions
from limrank_ir.models import MODELS
from limrank_ir.reranker import LimRank
from limrank_ir.store import VerdictStore
from limrank_ir.weights import identity

FIRST_STAGE, DENSE, CROSS_ENCODER = "bm25", "dense", "cross-encoder:"
DEFAULTS = (FIRST_STAGE, DENSE, "limrank-smol")
WEIGHT = 0.5  # of dense retrievers and cross-encoders in the fusion; LimRank models have their own

Pair: TypeAlias = tuple[str, str, str | None]
"""(query, passage, instruction)."""


@dataclass(frozen=True)
class Work:
    """What scoring the candidates of a collection took.

    Attributes:
        pairs: (query, passage) pairs.
        judged: pairs that the model read now; LimRank's others came from the verdicts of an earlier call.
        seconds: wall-clock time of those; loading the model is not in it.
        tokens: tokens of all pairs; a dense retriever reads each query and passage once.
        cut: pairs whose passage was cut to fit.
        cut_tokens: tokens that they lost.
        forced: pairs whose thought came to no verdict, so that it was forced.
    """

    pairs: int
    judged: int
    seconds: float
    tokens: int
    cut: int
    cut_tokens: int
    forced: int = 0

    @property
    def pairs_per_second(self) -> float | None:
        """Speed, or None where nothing was judged now."""
        return self.judged / self.seconds if self.judged else None


Score: TypeAlias = Callable[[Sequence[Pair], Callable[[int], None]], tuple[list[float], Work]]
"""(pairs, advance) to a score for each pair and what it took; the model is loaded."""


@dataclass(frozen=True)
class System:
    """A reranker.

    Attributes:
        name: as it was given.
        label: for tables.
        identity: everything that changes a score.
        weight: its share when it is fused with the first stage (`limrank_ir.fuse`), the same for all collections.
        adapter: the content hash of its adapter, or None.
        start: loads the model.
    """

    name: str
    label: str
    identity: str
    weight: float
    adapter: str | None
    start: Callable[[], Score]

    @property
    def file_name(self) -> str:
        """The label, as a part of a path."""
        return re.sub(r"[^\w.+-]+", "-", self.label)


def read_systems(names: Sequence[str], options: ModelOptions, store: Path) -> list[System]:
    """Find systems by name; nothing is loaded.

    Args:
        names: ``bm25`` (the first stage, which is measured in any case), ``dense``, ``cross-encoder:FOLDER``, a name of
            ``limrank models``, a folder or hub id, or ``NAME+ADAPTER``.
        options: how to run them.
        store: the file that keeps LimRank's verdicts.

    Returns:
        The rerankers among them, each once.

    Raises:
        InputError: a name is unknown, something is not installed, or two systems have the same label.
    """
    systems = [_system(name, options, store) for name in dict.fromkeys(names) if name != FIRST_STAGE]
    labels: dict[str, str] = {}
    for system in systems:
        other = labels.setdefault(system.file_name.lower(), system.name)
        if other != system.name:
            raise InputError(f"--system {system.name}: would be called {system.label}, as {other}; rename a folder")
    return systems


def _system(name: str, options: ModelOptions, store: Path) -> System:
    if name == DENSE:
        from .dense import dense

        return dense(options)
    if name.startswith(CROSS_ENCODER):
        from .cross_encoder import cross_encoder

        return cross_encoder(Path(name.removeprefix(CROSS_ENCODER)).expanduser(), options)
    if (near := get_close_matches(name.lower(), (FIRST_STAGE, DENSE), 1, 0.75)) and not Path(name).exists():
        raise InputError(f"--system {name}: unknown; did you mean {near[0]}?")
    return _limrank(name, options, store)


def _limrank(name: str, options: ModelOptions, store: Path) -> System:
    base, adapter = _parts(name)
    own_format = None if base in MODELS else options.get("prompt_format")
    chosen = options.copy()
    chosen["adapter"], chosen["prompt_format"] = adapter, own_format
    model = LimRank(base, **chosen)
    own = model.model.adapter
    budget = model.budget if model.think == "always" else 0

    def start() -> Score:
        model.load()  # which is not timed
        kept = LimRank(
            base,
            adapter=adapter,
            prompt_format=own_format,
            engine=model.engine,
            think=model.think,
            budget=model.budget,
            store=VerdictStore(store),
        )
        return lambda pairs, advance: _judged(kept, pairs, advance)

    return System(
        name=name,
        label=_label(base, adapter),
        identity=f"{model.engine.identity} {model.model.prompt_format} think={model.think} budget={budget}",
        weight=model.model.fuse,
        adapter=None if own is None else identity(own),
        start=start,
    )


def _parts(name: str) -> tuple[str, str | None]:
    """Base and adapter of ``BASE+ADAPTER``; a folder may have a + in its own name."""
    if name in MODELS or Path(name).is_dir() or "+" not in name:
        return name, None
    for place, character in enumerate(name):
        base, adapter = name[:place], name[place + 1 :]
        if character == "+" and (base in MODELS or Path(base).is_dir()):
            if not Path(adapter, "adapter_config.json").is_file():
                raise InputError(f"--system {name}: {adapter} holds no adapter_config.json; give an adapter's folder")
            return base, adapter
    return name, None


def _label(base: str, adapter: str | None) -> str:
    name = base if base in MODELS else Path(base).name
    return name if adapter is None else f"{name}+{Path(adapter).resolve().name}"


def _judged(limrank: LimRank, pairs: Sequence[Pair], advance: Callable[[int], None]) -> tuple[list[float], Work]:
    verdicts = limrank.judge(pairs, progress=advance)
    run = limrank.last_run
    work = Work(
        pairs=len(pairs),
        judged=run.judged,
        seconds=run.seconds,
        tokens=sum(verdict.prompt_tokens + verdict.reasoning_tokens for verdict in verdicts),
        cut=sum(verdict.cut_tokens > 0 for verdict in verdicts),
        cut_tokens=sum(verdict.cut_tokens for verdict in verdicts),
        forced=sum(verdict.finish != "verdict" for verdict in verdicts),
    )
    return [verdict.log_odds for verdict in verdicts], work
