"""MiniLM's vectors of a source's passages: computed once, for all rounds of mining."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limrank_ir.cli import console
from limrank_ir.errors import EngineError
from limrank_ir.store import key

PIECE = 512  # texts between two steps of the progress bar


def passage_vectors(encoder: Any, identity: str, texts: Sequence[str], cache: Path) -> np.ndarray:
    """Encode passages, or read the vectors that an earlier call has saved.

    Args:
        encoder: a ``SentenceTransformer``.
        identity: what the vectors depend on, beside the texts.
        texts: the passages; at least one.
        cache: the folder of the saved vectors.

    Returns:
        Normalized vectors ``[texts, size]``.

    Raises:
        EngineError: saved vectors are damaged, or they cannot be saved.
    """
    file = cache / f"vectors-{key(identity, *texts).hex()[:32]}.npy"
    try:
        if file.is_file():
            return np.asarray(np.load(file))
    except (OSError, ValueError, EOFError) as error:
        raise EngineError(f"{file}: cannot be read ({error}); remove it, and it is made again") from error
    parts = []
    with console.progress("MiniLM reads the source", len(texts), "passages") as advance:
        for first in range(0, len(texts), PIECE):
            piece = list(texts[first : first + PIECE])
            parts.append(encoder.encode_document(piece, normalize_embeddings=True, show_progress_bar=False))
            advance(len(piece))
    vectors = np.concatenate(parts)
    temporary = file.with_name(f".{file.stem}.{secrets.token_hex(4)}.npy")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        np.save(temporary, vectors)
        os.replace(temporary, file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EngineError(f"{file}: cannot be written ({error.strerror}); free some space and start again") from error
    return vectors
