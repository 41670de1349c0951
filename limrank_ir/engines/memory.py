"""Telling that memory ran out from other errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from limrank_ir.errors import EngineError


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or on a CPU; frees the GPU's cached blocks if so."""
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return True
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


@contextmanager
def within_memory(work: str, advice: str) -> Iterator[None]:
    """Do some work; where memory runs out, that is said in one line.

    Args:
        work: what is done, for the error message.
        advice: what to do about it.

    Raises:
        EngineError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise EngineError(f"{work}: out of memory; {advice}") from error
        raise
