"""LimRank as a cross-encoder for mteb (2.x), for its reranking tasks such as BRIGHT, FollowIR, and LitSearch.

mteb (https://github.com/embeddings-benchmark/mteb) defines the protocol in ``mteb/models/models_protocols.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Unpack

import numpy as np

from limrank_ir import __version__
from limrank_ir.errors import InputError
from limrank_ir.models import DEFAULT, ModelOptions, resolve
from limrank_ir.reranker import LimRank, as_limrank


class MtebCrossEncoder:
    """A model for ``mteb.evaluate``.

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
        """Choose a model. Its weights load with the first task.

        Args:
            model: a name, folder, or hub id; or a `LimRank`.
            revision: the revision under which mteb saves results; None: the version of this package.
            options: how to run a model that is given by name (`limrank_ir.models.ModelOptions`). With a
                ``store``, an interrupted evaluation can continue.

        Raises:
            InputError: an option is unknown or invalid, or is given together with a `LimRank`.
        """
        self.limrank = as_limrank(model, options)
        self._revision = revision or __version__

    @cached_property
    def mteb_model_meta(self) -> Any:
        """The model's metadata, which mteb saves with the results."""
        from mteb.models import ModelMeta

        model = self.limrank.model
        name = model.name.rstrip("/").rsplit("/", 1)[-1]
        default = resolve(model.name, prompt_format=model.prompt_format)
        settings = {
            "adapter": None if model.adapter == default.adapter else model.adapter,
            "think": None if self.limrank.think == default.think else self.limrank.think,
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
            # mteb saves results with different settings separately.
            experiment_kwargs={key: value for key, value in settings.items() if value is not None} or None,
        )

    def predict(
        self,
        inputs1: Iterable[Mapping[str, Sequence[Any]]],
        inputs2: Iterable[Mapping[str, Sequence[Any]]],
        *,
        show_progress_bar: bool = True,
        **kwargs: Any,
    ) -> np.ndarray:
        """Score pairs.

        Args:
            inputs1: batches of queries, with ``query`` and, optionally, ``instruction``, which is put in the prompt.
            inputs2: batches of documents, with ``text``, which includes the title.
            show_progress_bar: draw a progress bar on stderr.
            kwargs: the task's metadata and the settings of other models, which have no effect.

        Returns:
            float64 log-odds, ``[pairs]``.

        Raises:
            InputError: the numbers of queries and documents differ, or a text is missing.
            LimRankError: as for `limrank_ir.LimRank.judge`.
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
        raise InputError(f"a batch of documents has only {', '.join(batch) or 'no columns'}; LimRank needs text")
    return batch["text"]


def _queries(batch: Mapping[str, Sequence[Any]]) -> Iterable[tuple[str, str | None]]:
    """(query, instruction) pairs. In mteb, ``text`` is both in one; ``query`` is only the query."""
    texts = batch.get("query", batch.get("text"))
    if texts is None:
        raise InputError(f"a batch of queries has only {', '.join(batch) or 'no columns'}; LimRank needs text")
    instructions = batch.get("instruction", [None] * len(texts))
    return zip(texts, (instruction or None for instruction in instructions), strict=True)
