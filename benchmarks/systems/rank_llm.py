"""RankLLM's own rerankers as systems (https://github.com/castorini/rank_llm, 0.26): pointwise and listwise.

What stands here only starts them: prompts, windows, and the reading of answers are RankLLM's.
"""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.models import ModelOptions

from .system import System

POINTWISE = "rank-llm-pointwise:"  # before a folder
LISTWISE = "rank-llm-listwise:"  # before the URL of a server, or MODEL@URL


def rank_llm_system(name: str, options: ModelOptions, store: Path) -> System:
    """One of RankLLM's rerankers.

    Args:
        name: `POINTWISE` and the folder of a MonoT5 or MonoELECTRA; or `LISTWISE` and the URL of an OpenAI-compatible
            server, which may follow the name of its model: ``MODEL@URL``.
        options: how to run it.
        store: the file for LimRank's verdicts; a listwise model's answers are kept beside it.

    Returns:
        The system.

    Raises:
        InputError: RankLLM is not installed, the folder holds no such model, or the server cannot be used.
    """
    who = f"--system {name}"
    need(who, "rank-llm", "rank_llm", "ftfy", "dacite")
    if name.startswith(POINTWISE):
        from .rank_llm_pointwise import pointwise_system

        return pointwise_system(name, Path(name.removeprefix(POINTWISE)).expanduser(), options)
    from .rank_llm_listwise import listwise_system

    model, _, url = name.removeprefix(LISTWISE).rpartition("@")
    if not url.startswith(("http://", "https://")):
        raise InputError(
            f"{who}: give the URL of an OpenAI-compatible server, as in {LISTWISE}http://localhost:8000/v1 (RankLLM "
            "itself runs a folder only with vLLM: start `vllm serve FOLDER`)"
        )
    return listwise_system(name, model or None, url, options, store)


def rank_llm(module: str) -> Any:
    """Import a part of RankLLM, whose import would make the root logger print what every library has to say.

    Args:
        module: its name, such as ``"rank_llm.data"``.

    Returns:
        The module.
    """
    root, keep = logging.getLogger(), logging.NullHandler()
    root.addHandler(keep)  # logging.basicConfig does nothing where there is a handler
    try:
        return importlib.import_module(module)
    finally:
        root.removeHandler(keep)


@contextmanager
def without_prints() -> Iterator[None]:
    """Drop what RankLLM prints to stdout when a reranker is made, which would end up in our results."""
    with redirect_stdout(io.StringIO()):
        yield


def version() -> str:
    """RankLLM's version, a part of identities: it has the prompts."""
    from importlib.metadata import version as installed

    return f"rank-llm {installed('rank-llm')}"
