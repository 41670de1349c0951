"""The engine for cross-encoders: sequence classifiers with one label, which read query and passage together.

Their score is the raw logit, without the activation that some libraries put behind it: a sigmoid keeps the order but
makes ties of very high and very low scores. Pairs are sorted by length, batched by tokens, and packed without padding
(`packed_encoder`); families that cannot be packed run padded. A query's passages share nothing here, because a
cross-encoder's query tokens see the passage.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING

from limrank_ir.engines.batching import batches, waves
from limrank_ir.engines.local import TOKENS_PER_BATCH, LocalEngine
from limrank_ir.engines.room import free_memory, tokens_that_fit
from limrank_ir.errors import EngineError, InputError
from limrank_ir.prompts import Prompt
from limrank_ir.verdict import Reading, Written
from limrank_ir.weights import locate

if TYPE_CHECKING:
    from limrank_ir.engines import Label
    from limrank_ir.engines.classifiers import Classifier

log = logging.getLogger("limrank_ir")


class CrossEncoderEngine(LocalEngine):
    """Runs one cross-encoder with transformers. The weights load with the first pair."""

    @cached_property
    def precision(self) -> str:
        """``"float32"``, ``"bfloat16"``, or ``"float16"``."""
        if self._dtype == "int8":
            raise InputError(f"{self.model.name}: cross-encoders do not run in int8; choose dtype='float32'")
        on_cpu = self.device.type == "cpu"
        return "float32" if self._dtype == "auto" and on_cpu else super().precision

    @cached_property
    def _classifier(self) -> Classifier:
        from limrank_ir.engines.classifiers import load_classifier

        if self.model.adapter is not None:
            raise InputError(
                f"{self.model.adapter}: cross-encoders take no adapter; merge it into {self.model.name} with PEFT first"
            )
        classifier = load_classifier(
            locate(self.model.weights), self.device, self.dtype, allow_mismatch=self._allow_mismatch
        )
        if not classifier.packed:
            log.info("%s: its family cannot be packed, so batches are padded", self.model.name)
        return classifier

    @property
    def _tokens_per_batch(self) -> int:
        if self._batch_tokens is None:
            model, free = self._classifier.model, free_memory(self.device)
            fit = TOKENS_PER_BATCH if free is None else tokens_that_fit(free, model.config, model.dtype.itemsize)
            self._batch_tokens = fit
        return self._batch_tokens

    def read_labels(
        self,
        prompts: Sequence[Prompt],
        labels: Sequence[Label],
        *,
        think: bool,
        budget: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Reading]]]:
        """Read the logit of each pair, batch by batch (see `limrank_ir.engines.Engine.read_labels`).

        Args:
            prompts: the pairs: a prompt's prefix is the query.
            labels: the one label.
            think: must be False.
            budget: has no effect.
            done: indices of prompts to skip.

        Raises:
            InputError: the model is to think or to read several labels, it cannot be loaded, or a query leaves no room
                for a passage.
            EngineError: memory runs out even for a single pair, or the model yields NaN.
        """
        if think or len(labels) != 1:
            raise InputError(f"{self.model.name}: a cross-encoder gives one score, without thinking; use think='never'")
        for wave in waves(dict(enumerate(prompts))):
            indices = [index for group in wave for index in group]
            if all(index in done for index in indices):
                continue
            yield from self._scores(prompts, indices, done)

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        budget: int,
        stop: Sequence[str] = (),
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Written]]]:
        """Refuse: a cross-encoder writes nothing.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{self.model.name}: a cross-encoder gives one score and writes nothing; choose a ranker that reads scores"
        )

    def _scores(
        self, prompts: Sequence[Prompt], indices: Sequence[int], done: Set[int]
    ) -> Iterator[list[tuple[int, Reading]]]:
        classifier = self._classifier
        pairs = classifier.tokenizer.encode(
            [prompts[index] for index in indices], min(self.max_length, classifier.limit)
        )

        def run(part: list[int]) -> list[tuple[int, Reading]]:
            chosen = [pairs[position] for position in part]
            logits = classifier.logits(chosen)
            self._count(sum(len(pair.ids) for pair in chosen))
            return [
                (indices[position], _reading(logit, len(pair.ids), pair.cut))
                for position, pair, logit in zip(part, chosen, logits, strict=True)
            ]

        # Form the batches from all pairs and drop those in `done` afterwards: a resumed run then has the same batches.
        for batch in batches([len(pair.ids) for pair in pairs], self._tokens_per_batch, self._batch_size):
            if wanted := [position for position in batch if indices[position] not in done]:
                yield from self._halved(wanted, run)


def _reading(logit: float, tokens: int, cut: int) -> Reading:
    if not math.isfinite(logit):
        raise EngineError(f"the model gave {logit} for a pair of {tokens} tokens; try dtype='float32'")
    return Reading(None, None, tokens, 0, "verdict", cut, (logit,))
