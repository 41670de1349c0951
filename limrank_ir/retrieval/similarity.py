"""A sentence encoder's score of a query and a passage: a second opinion to fuse, without an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from limrank_ir.extras import need
from limrank_ir.retrieval import minilm
from limrank_ir.retrieval.encoders import loading

if TYPE_CHECKING:
    import numpy.typing as npt

CHUNK = 512  # texts between two steps of the progress bar


class DenseScorer:
    """Scores pairs of texts by the similarity of their embeddings, mostly the cosine.

    Example:
        >>> DenseScorer().predict([("copy a file", "cp copies"), ("copy a file", "flour")])  # doctest: +SKIP
    """

    def __init__(self, encoder: str = minilm.NAME, *, device: str | None = None) -> None:
        """Choose the encoder. Its weights load with the first pair.

        Args:
            encoder: ``"minilm"``, or a sentence-transformers model: a folder or a hub id.
            device: the device of the encoder; None: a GPU if available.

        Raises:
            InputError: sentence-transformers or MiniLM's weights are not installed.
        """
        need(f"the encoder {encoder}", "dense", "sentence_transformers")
        self.encoder, self.device = encoder, device
        self._place = str(minilm.folder(f"the encoder {encoder}")) if encoder == minilm.NAME else encoder

    @cached_property
    def model(self) -> Any:
        """The model of sentence-transformers, loaded on first use."""
        from sentence_transformers import SentenceTransformer

        with loading(f"the encoder {self.encoder}"):
            return SentenceTransformer(self._place, device=self.device)

    def predict(
        self, pairs: Sequence[tuple[str, str]], *, progress: Callable[[int], None] = lambda count: None
    ) -> npt.NDArray[np.float64]:
        """Score pairs.

        Args:
            pairs: (query, passage).
            progress: called with the number of pairs finished since its last call.

        Returns:
            float64 similarities of shape ``[pairs]``.

        Raises:
            InputError: the encoder cannot be loaded.
        """
        if not pairs:
            return np.zeros(0)
        return np.array(similarities(self.model, pairs, progress), dtype=np.float64)


def similarities(model: Any, pairs: Sequence[tuple[str, str]], progress: Callable[[int], None]) -> list[float]:
    """Score pairs with a loaded model. Queries and passages get the prompts that the model has for them.

    Args:
        model: a ``SentenceTransformer``.
        pairs: (query, passage); equal texts are encoded once.
        progress: called with the number of pairs finished since its last call.

    Returns:
        The model's own similarity of each pair.
    """
    import torch

    encode: dict[str, Any] = {"show_progress_bar": False, "convert_to_tensor": True}
    queries = list(dict.fromkeys(query for query, _ in pairs))
    query_vectors = dict(zip(queries, model.encode_query(queries, **encode), strict=True))
    copies: dict[str, int] = {}
    for _, passage in pairs:
        copies[passage] = copies.get(passage, 0) + 1
    texts = list(copies)
    passage_vectors: dict[str, Any] = {}
    for first in range(0, len(texts), CHUNK):
        chunk = texts[first : first + CHUNK]
        passage_vectors.update(zip(chunk, model.encode_document(chunk, **encode), strict=True))
        progress(sum(copies[text] for text in chunk))
    scores: list[float] = []
    for first in range(0, len(pairs), CHUNK):
        left = torch.stack([query_vectors[query] for query, _ in pairs[first : first + CHUNK]])
        right = torch.stack([passage_vectors[passage] for _, passage in pairs[first : first + CHUNK]])
        scores += model.similarity_pairwise(left, right).double().tolist()
    return scores
