"""The source of a run's passages: a corpus or an index."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from limrank_ir.errors import InputError

if TYPE_CHECKING:
    from limrank_ir.ranking.candidates import Passages


def passages(corpus: Path | None, index: Path | None) -> Passages:
    """The source of the passages, from exactly one of ``--corpus`` and ``--index``."""
    if corpus is not None and index is None:
        from limrank_ir.formats.corpus import read_passages

        return functools.partial(read_passages, corpus)
    if index is not None and corpus is None:
        from limrank_ir.pyserini import index_texts

        return index_texts(index)
    raise InputError("where are the passages? Give either --corpus or --index")
