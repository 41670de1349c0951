"""LimRank with the methods of sentence-transformers' ``CrossEncoder``, for its evaluators and code that expects one.

The interface is that of sentence-transformers 5.6 and later (``sentence_transformers/cross_encoder/model.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

import numpy as np
import numpy.typing as npt

from limrank_ir.errors import InputError
from limrank_ir.formats.pairs import Pair, as_list, checked_pair, is_pair
from limrank_ir.models import DEFAULT, ModelOptions
from limrank_ir.reranker import LimRank, as_limrank

if TYPE_CHECKING:
    import torch

Scores: TypeAlias = npt.NDArray[np.float64]
Activation: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"


class LimRankCrossEncoder:
    """A drop-in ``CrossEncoder``: ``predict`` and ``rank`` with the same arguments and results.

    Scores are log-odds; ``activation_fn=torch.nn.Sigmoid()`` makes them probabilities.

    Example:
        >>> model = LimRankCrossEncoder("limrank-smol")  # doctest: +SKIP
        >>> model.rank("how do I copy a file?", ["shutil.copy(src, dst)", "os.remove(path)"])  # doctest: +SKIP
        [{'corpus_id': 0, 'score': 3.1}, {'corpus_id': 1, 'score': -2.4}]
    """

    def __init__(self, model: str | LimRank = DEFAULT, **options: Unpack[ModelOptions]) -> None:
        """Choose a model. Its weights load with the first pair.

        Args:
            model: a name, folder, or hub id; or a `LimRank`.
            options: how to run a model that is given by name (`limrank_ir.models.ModelOptions`).

        Raises:
            InputError: an option is unknown or invalid, or is given together with a `LimRank`.
        """
        self.limrank = as_limrank(model, options)
        self.model_card_data = _ModelCard()

    def __repr__(self) -> str:
        return f"LimRankCrossEncoder({self.limrank!r})"

    @overload
    def predict(
        self,
        inputs: Pair | Iterable[Pair],
        *,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        activation_fn: Activation | None = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[False] = ...,
    ) -> Scores: ...

    @overload
    def predict(
        self,
        inputs: Pair | Iterable[Pair],
        *,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        activation_fn: Activation | None = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[True],
    ) -> torch.Tensor: ...

    def predict(
        self,
        inputs: Any,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
    ) -> Scores | torch.Tensor:
        """Score pairs.

        Args:
            inputs: a list of (query, passage) or (query, passage, instruction), or one such pair.
            prompt_name: must be None, because LimRank has no named prompts.
            prompt: an instruction for all pairs without their own: what counts as relevant.
            batch_size: has no effect; set it as an option of the model.
            show_progress_bar: draw a progress bar on stderr.
            activation_fn: a function to apply to the log-odds, such as ``torch.nn.Sigmoid()``.
            convert_to_numpy: has no effect; see `convert_to_tensor`.
            convert_to_tensor: return a torch tensor instead of a NumPy array.

        Returns:
            float64 scores of shape ``[pairs]``, or a scalar for one pair.

        Raises:
            LimRankError: as for `limrank_ir.LimRank.judge`, or if `prompt_name` is given.
        """
        one = is_pair(inputs)
        scores = self._scores([inputs] if one else inputs, prompt_name, prompt, show_progress_bar, activation_fn)
        if convert_to_tensor:
            import torch

            return torch.from_numpy(scores)[0] if one else torch.from_numpy(scores)
        return scores[0] if one else scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
    ) -> list[dict[str, Any]]:
        """Rank documents for a query.

        Args:
            query: the query.
            documents: the texts of the documents.
            top_k: how many to return; None: all. All documents are judged in any case.
            return_documents: also return each document's text.
            prompt_name: as for `predict`.
            prompt: as for `predict`.
            batch_size: as for `predict`.
            show_progress_bar: as for `predict`.
            activation_fn: as for `predict`.

        Returns:
            ``{"corpus_id": index in documents, "score": float}`` for each document, best first, and ``"text"`` if
            requested. Documents with equal scores keep their order.

        Raises:
            LimRankError: as for `predict`, or if `top_k` is below 1.
        """
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; it must be at least 1")
        documents = as_list("documents", documents)
        pairs = [(query, document) for document in documents]
        scores = self._scores(pairs, prompt_name, prompt, show_progress_bar, activation_fn)
        ranked: list[dict[str, Any]] = []
        for index in np.argsort(-scores, kind="stable")[:top_k].tolist():
            hit = {"corpus_id": index, "score": float(scores[index])}
            if return_documents:
                hit["text"] = documents[index]
            ranked.append(hit)
        return ranked

    def _scores(
        self,
        inputs: Iterable[Pair],
        prompt_name: str | None,
        prompt: str | None,
        show_progress_bar: bool | None,
        activation_fn: Activation | None,
    ) -> Scores:
        if prompt_name is not None:
            raise InputError(f"prompt_name is {prompt_name!r}, but LimRank has no named prompts; use prompt instead")
        checked = [checked_pair(number, pair) for number, pair in enumerate(as_list("inputs", inputs))]
        pairs = [
            (query, passage, prompt if instruction is None else instruction) for query, passage, instruction in checked
        ]
        scores = self.limrank.predict(pairs, show_progress_bar=bool(show_progress_bar))
        if activation_fn is None:
            return scores
        import torch

        return activation_fn(torch.from_numpy(scores)).numpy()


class _ModelCard:
    """The model card, in which evaluators record the metrics that they also return."""

    def set_evaluation_metrics(self, *args: Any) -> None:
        """Ignore the metrics: ``limrank export`` writes the card of a published model."""
