"""LimRank with the methods of sentence-transformers' ``CrossEncoder``: for its evaluators, and for code that has one.

The interface is that of sentence-transformers 5.6 and later (``sentence_transformers/cross_encoder/model.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

import numpy as np
import numpy.typing as npt

from limrank_ir.errors import InputError
from limrank_ir.formats.pairs import Pair, is_pair, as_list
from limrank_ir.model_options import ModelOptions
from limrank_ir.models import DEFAULT
from limrank_ir.reranker import LimRank, as_limrank

if TYPE_CHECKING:
    import torch

Scores: TypeAlias = npt.NDArray[np.float64]
Activation: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"


class LimRankCrossEncoder:
    """A drop-in ``CrossEncoder``: ``predict`` and ``rank`` with its arguments and its results.

    Scores are log-odds; ``activation_fn=torch.nn.Sigmoid()`` makes them probabilities.

    Example:
        >>> model = LimRankCrossEncoder("limrank-smol")  # doctest: +SKIP
        >>> model.rank("how do I copy a file?", ["shutil.copy(src, dst)", "os.remove(path)"])  # doctest: +SKIP
        [{'corpus_id': 0, 'score': 3.1}, {'corpus_id': 1, 'score': -2.4}]
    """

    def __init__(self, model: str | LimRank = DEFAULT, **options: Unpack[ModelOptions]) -> None:
        """Choose a model; its weights load with the first pair.

        Args:
            model: a name, folder or hub id; or a `LimRank`.
            options: how a model given by name is run (`limrank_ir.model_options.ModelOptions`).

        Raises:
            InputError: an option is unknown or impossible.
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
            inputs: a list of (query, passage) pairs, or one pair.
            prompt_name: must be None: LimRank has no named prompts.
            prompt: an instruction for all pairs that don't have their own: what counts as relevant.
            batch_size: has no effect here; it is an option of the model.
            show_progress_bar: draw a progress bar on stderr.
            activation_fn: applied to the log-odds, such as ``torch.nn.Sigmoid()``.
            convert_to_numpy: has no effect; see `convert_to_tensor`.
            convert_to_tensor: return a torch tensor instead of an array.

        Returns:
            float64 scores of shape ``[pairs]``; for one pair, a scalar.

        Raises:
            LimRankError: as for `limrank_ir.LimRank.judge`; or a prompt name is given.
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
            documents: the documents' texts.
            top_k: how many to return; None: all. All of them are judged.
            return_documents: also return each document's text.
            prompt_name: as for `predict`, and so are the other arguments.
            prompt: as for `predict`.
            batch_size: as for `predict`.
            show_progress_bar: as for `predict`.
            activation_fn: as for `predict`.

        Returns:
            ``{"corpus_id": place in documents, "score": float}`` for each document, best first, with ``"text"`` on
            request; equal scores keep the given order.

        Raises:
            LimRankError: as for `predict`; or `top_k` is below 1.
        """
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; it must be at least 1")
        documents = as_list("documents", documents)
        pairs = [(query, document) for document in documents]
        scores = self._scores(pairs, prompt_name, prompt, show_progress_bar, activation_fn)
        ranked: list[dict[str, Any]] = []
        for place in np.argsort(-scores, kind="stable")[:top_k].tolist():
            hit = {"corpus_id": place, "score": float(scores[place])}
            ranked.append({**hit, "text": documents[place]} if return_documents else hit)
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
            raise InputError(f"prompt_name is {prompt_name!r}, but LimRank has no named prompts; give prompt instead")
        pairs = [pair if len(pair) > 2 or prompt is None else (*pair, prompt) for pair in as_list("inputs", inputs)]
        scores = self.limrank.predict(pairs, show_progress_bar=bool(show_progress_bar))
        if activation_fn is None:
            return scores
        import torch

        return activation_fn(torch.from_numpy(scores)).numpy()


class _ModelCard:
    """Where evaluators note the metrics that they also return."""

    def set_evaluation_metrics(self, *noted: Any) -> None:
        """Ignore them: the card of a published model is written by ``limrank export``."""
