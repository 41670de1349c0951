"""Engines: what runs a language model over prompts and returns verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Protocol

from limrank_ir.prompts import Prompt
from limrank_ir.verdict import Verdict


class Engine(Protocol):
    """What `limrank_ir.LimRank` asks of an engine; an object of your own with these two members will do."""

    @property
    def identity(self) -> str:
        """Everything about the engine that changes a verdict (weights, precision, limits): part of the store's key."""
        ...

    def judge(
        self, prompts: Sequence[Prompt], *, think: bool, budget: int, done: Set[int] = frozenset()
    ) -> Iterator[list[tuple[int, Verdict]]]:
        """Judge prompts batch by batch, in any order.

        Args:
            prompts: the rendered prompts.
            think: whether the prompts ask for a thought before the verdict.
            budget: the most tokens of a thought.
            done: indices of prompts whose verdicts are known already and are not wanted again. They are passed so
                that an engine can form the same batches as in a run that was never interrupted.

        Yields:
            Batches of (index of the prompt, its verdict), as soon as they are ready.
        """
        ...
