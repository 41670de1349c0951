"""Where the passages of a run come from: a corpus or an index."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from limrank_ir.errors import InputError

if TYPE_CHECKING:
    from limrank_ir.ranking.candidates import Passages


def passages(corpus: Path | None, index: Path | None) -> Passages:
    """Where the passages come from: the one of the two that is given."""
    if index is not None and corpus is None:
        from limrank_ir.pyserini import index_texts

        return index_texts(index)
    if corpus is None or index is not None:
        raise InputError("where are the passages? Give one of --corpus and --index")
    from limrank_ir.formats.corpus import read_passages

    return functools.partial(read_passages, corpus)
