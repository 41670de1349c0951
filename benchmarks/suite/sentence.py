"""What the systems that sentence-transformers runs have in common."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from limrank_ir.errors import LimRankError


def check_sentence_transformers(who: str) -> None:
    """Make sure that sentence-transformers is installed.

    Args:
        who: what needs it, for the error message.

    Raises:
        LimRankError: it is not.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise LimRankError(f"{who} needs sentence-transformers; run: pip install 'limrank-ir[bench]'")


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Load a model without a progress bar of its own; what goes wrong becomes one line.

    Args:
        name: the system's, for the error message.

    Raises:
        LimRankError: the model cannot be loaded.
    """
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LimRankError(f"--system {name}: cannot be loaded ({reason}); check its files and --device") from error
    finally:
        if bars:
            logging.enable_progress_bar()


def token_counts(tokenizer: Any, *texts: Sequence[str]) -> list[int]:
    """How many tokens texts have, or pairs of texts, with the special ones and before anything is cut."""
    return [len(ids) for ids in tokenizer(*map(list, texts), truncation=False, verbose=False)["input_ids"]]
