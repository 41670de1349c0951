"""Tell out-of-memory errors from all others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from limrank_ir.errors import EngineError


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that GPU or CPU memory ran out. If it was the GPU's, its cached blocks are freed."""
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return True
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


@contextmanager
def within_memory(work: str, advice: str) -> Iterator[None]:
    """Turn an out-of-memory error in the ``with`` block into an error message of one line.

    Args:
        work: what was being done, for the error message.
        advice: what the user can do about it.

    Raises:
        EngineError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise EngineError(f"{work}: out of memory; {advice}") from error
        raise
