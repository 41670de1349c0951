"""LimRank as a cross-encoder of mteb (2.x), which then runs its reranking tasks with it: BRIGHT, FollowIR, LitSearch.

mteb (https://github.com/embeddings-benchmark/mteb) defines the protocol in ``mteb/models/models_protocols.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Unpack

import numpy as np

from limrank_ir import __version__
from limrank_ir.errors import InputError
from limrank_ir.model_options import ModelOptions
from limrank_ir.models import DEFAULT, resolve
from limrank_ir.reranker import LimRank, as_limrank


class MtebCrossEncoder:
    """What ``mteb.evaluate`` takes as a model.

    Example:
        >>> import mteb  # doctest: +SKIP
        >>> mteb.evaluate(MtebCrossEncoder("limrank-smol"), mteb.get_tasks(["NFCorpus"]))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | LimRank = DEFAULT,
        revision: str | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Choose a model; its weights load with the first task.

        Args:
            model: a name, folder or hub id; or a `LimRank`.
            revision: what results are filed under beside the model's name; None: this package's version.
            options: how a model given by name is run (`limrank_ir.model_options.ModelOptions`): ``store=`` makes an
                evaluation resumable.

        Raises:
            InputError: an option is unknown or impossible.
        """
        self.limrank = as_limrank(model, options)
        self._revision = revision or __version__

    @cached_property
    def mteb_model_meta(self) -> Any:
        """What mteb writes beside the results."""
        from mteb.models import ModelMeta

        model = self.limrank.model
        name = model.name.rstrip("/").rsplit("/", 1)[-1]
        usual = resolve(model.name, prompt_format=model.prompt_format)
        settings = {
            "adapter": None if model.adapter == usual.adapter else model.adapter,
            "think": None if self.limrank.think == usual.think else self.limrank.think,
            "task": self.limrank.task,
        }
        return ModelMeta(
            loader=None,
            name=f"limrank-ir/{name}",
            revision=self._revision,
            release_date=None,
            languages=["eng-Latn"],
            n_parameters=None if model.parameters is None else round(model.parameters * 1e9),
            memory_usage_mb=None,
            max_tokens=model.context,
            embed_dim=None,
            license="apache-2.0",
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch", "Transformers"],
            reference=None,
            similarity_fn_name=None,
            use_instructions=True,
            training_datasets=None,
            model_type=["cross-encoder"],
            # mteb files results of other settings apart.
            experiment_kwargs={key: value for key, value in settings.items() if value is not None} or None,
        )

    def predict(
        self,
        inputs1: Iterable[Mapping[str, Sequence[Any]]],
        inputs2: Iterable[Mapping[str, Sequence[Any]]],
        *,
        show_progress_bar: bool = True,
        **given: Any,
    ) -> np.ndarray:
        """Score pairs.

        Args:
            inputs1: batches of queries, with ``query`` and perhaps ``instruction``, which reaches the prompt.
            inputs2: batches of documents, with ``text``, title included.
            show_progress_bar: draw a progress bar on stderr.
            given: what mteb says of the task, and settings of other models; they have no effect.

        Returns:
            float64 log-odds, ``[pairs]``.

        Raises:
            InputError: there are not as many queries as documents, a text is missing, or the model cannot be used.
        """
        queries = [query for batch in inputs1 for query in _queries(batch)]
        passages = [text for batch in inputs2 for text in _texts(batch)]
        if len(queries) != len(passages):
            raise InputError(f"{len(queries)} queries, but {len(passages)} documents; give pairs")
        pairs = [(query, passage, instruction) for (query, instruction), passage in zip(queries, passages, strict=True)]
        return self.limrank.predict(pairs, show_progress_bar=show_progress_bar)


def _texts(batch: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
    """The documents of a batch."""
    if "text" not in batch:
        raise InputError(f"a batch of documents has only {', '.join(batch) or 'nothing'}; LimRank reads text")
    return batch["text"]


def _queries(batch: Mapping[str, Sequence[Any]]) -> Iterable[tuple[str, str | None]]:
    """(query, instruction); mteb's ``text`` is the two in one, its ``query`` is the query alone."""
    texts = batch.get("query", batch.get("text"))
    if texts is None:
        raise InputError(f"a batch of queries has only {', '.join(batch) or 'nothing'}; LimRank reads text")
    instructions = batch.get("instruction", [None] * len(texts))
    return zip(texts, (instruction or None for instruction in instructions), strict=True)
