"""MiniLM's embeddings of texts. One command's filters ask for the same texts, so they are embedded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_made: dict[str, npt.NDArray[np.float32]] = {}  # 1.5 KB each


def embed(texts: Sequence[str], who: str) -> npt.NDArray[np.float32]:
    """Embed texts.

    Args:
        texts: the texts, at least one.
        who: what needs the embeddings, for messages.

    Returns:
        ``[texts, 384]``, rows of length 1.

    Raises:
        InputError: the weights are not installed, or cannot be loaded.
    """
    import numpy as np

    if new := [text for text in dict.fromkeys(texts) if text not in _made]:
        from sentence_transformers import SentenceTransformer

        from limrank_ir.retrieval import minilm
        from limrank_ir.retrieval.encoders import loading

        with loading(who):
            model = SentenceTransformer(str(minilm.folder(who)))
        # On a CPU, the activations of larger batches do not fit into its cache: 64 take half as long again as 16.
        vectors = model.encode(new, batch_size=16, normalize_embeddings=True, show_progress_bar=False)
        _made.update(zip(new, vectors, strict=True))
    return np.stack([_made[text] for text in texts])
