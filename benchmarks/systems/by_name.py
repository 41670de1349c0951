"""Find systems by name: LimRank models and adapters, and baselines of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.models import ModelOptions
from limrank_ir.rankers.behind import split_ranker

from .by_ranker import ranker_system
from .cross_encoder import CROSS_ENCODER, cross_encoder_system
from .dense import DENSE, dense_system
from .limrank import LastEngine, limrank_system
from .rank_llm import LISTWISE, POINTWISE
from .rank_llm_listwise import listwise_system
from .rank_llm_pointwise import pointwise_system
from .system import FIRST_STAGE, System

DEFAULT_SYSTEMS = (FIRST_STAGE, DENSE, "limrank-smol")


def read_systems(names: Sequence[str], options: ModelOptions, store: Path, *, thoughts: bool = True) -> list[System]:
    """Find systems by name. Nothing is loaded.

    Args:
        names: ``bm25`` (the first stage, always measured), ``dense``, ``dense:FOLDER``, ``cross-encoder:FOLDER``,
            ``rank-llm-pointwise:FOLDER``, ``rank-llm-listwise:URL``, a name from ``limrank models``, a folder or hub
            id, or ``NAME+ADAPTER``; or one of these three with a ranker, ``NAME@setwise:top=10``, and perhaps a format
            of its questions, ``NAME@setwise@setwise-numbers``.
        options: how to run them.
        store: the file for LimRank's verdicts.
        thoughts: whether the store keeps their reasoning, which repeats parts of the texts.

    Returns:
        The rerankers among them, each once.

    Raises:
        InputError: a name is unknown, something is not installed, or two systems have the same label.
    """
    last = LastEngine()
    systems = [_find(name, options, store, last, thoughts) for name in dict.fromkeys(names) if name != FIRST_STAGE]
    labels = {FIRST_STAGE: FIRST_STAGE}
    for system in systems:
        other = labels.setdefault(system.file_name.lower(), system.name)
        if other != system.name:
            raise InputError(f"--system {system.name}: {other} has the same label, {system.label}; rename a folder")
    return systems


def _find(name: str, options: ModelOptions, store: Path, last: LastEngine, thoughts: bool) -> System:
    if name == DENSE:
        return dense_system(options)
    if name.startswith(f"{DENSE}:"):
        return dense_system(options, Path(name.removeprefix(f"{DENSE}:")).expanduser())
    if name.startswith(POINTWISE):
        return pointwise_system(name, options)
    if name.startswith(LISTWISE):
        return listwise_system(name, options, store)
    if name.startswith(CROSS_ENCODER):
        return cross_encoder_system(Path(name.removeprefix(CROSS_ENCODER)).expanduser(), options)
    if split_ranker(name)[1]:
        return ranker_system(name, options, store, last, thoughts=thoughts)
    near = get_close_matches(name.lower(), (FIRST_STAGE, DENSE), 1, 0.75)
    if near and not Path(name).exists():
        raise InputError(f"--system {name}: unknown; did you mean {near[0]}?")
    return limrank_system(name, options, store, last, thoughts=thoughts)
