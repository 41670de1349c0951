"""RankLLM's own rerankers as systems (https://github.com/castorini/rank_llm, 0.26): pointwise and listwise.

What stands here only starts them: prompts, windows, and the reading of answers are RankLLM's.
"""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from limrank_ir.extras import need

POINTWISE = "rank-llm-pointwise:"  # before a folder
LISTWISE = "rank-llm-listwise:"  # before the URL of a server, or MODEL@URL


def need_rank_llm(who: str, *packages: str) -> None:
    """Check that RankLLM and what it needs are installed.

    Args:
        who: the option and its value, for the error message.
        *packages: what else is needed.

    Raises:
        InputError: something is not installed.
    """
    need(who, "rank-llm", "rank_llm", "ftfy", "dacite", *packages)


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
