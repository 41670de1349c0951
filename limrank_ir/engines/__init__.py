"""Engines run a language model over prompts and return verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Protocol

from limrank_ir.prompts import Prompt
from limrank_ir.verdict import Verdict


class Engine(Protocol):
    """The interface that `limrank_ir.LimRank` needs. Any object with these two members works."""

    @property
    def identity(self) -> str:
        """Everything in the engine that can change a verdict (weights, precision, limits). Part of the store's key."""
        ...

    def judge(
        self, prompts: Sequence[Prompt], *, think: bool, budget: int, done: Set[int] = frozenset()
    ) -> Iterator[list[tuple[int, Verdict]]]:
        """Judge prompts batch by batch, in any order.

        Args:
            prompts: the rendered prompts.
            think: whether the model reasons before its verdict.
            budget: the maximum number of tokens of a thought.
            done: indices of prompts that already have a verdict. Skip them, but form the same batches as if they
                were needed, so that a resumed run gives the same scores as an uninterrupted one.

        Yields:
            Batches of (index of the prompt, its verdict), each as soon as it is ready.
        """
        ...
