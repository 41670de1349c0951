"""Shared by everything that uses sentence-transformers: loading models, and counting tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.weights import without_bars


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Load a model without a progress bar, and with errors in one line.

    Args:
        name: the option and its value, for the error message.

    Raises:
        InputError: the model cannot be loaded.
    """
    try:
        with without_bars():
            yield
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{name}: cannot be loaded ({reason}); check its files and --device") from error


def token_counts(tokenizer: Any, *texts: Sequence[str]) -> list[int]:
    """The number of tokens of texts, or pairs of texts, including special tokens, before truncation."""
    return [len(ids) for ids in tokenizer(*map(list, texts), truncation=False, verbose=False)["input_ids"]]
