"""Engines run a language model over prompts and read what it says at the label's place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Protocol

from limrank_ir.prompts import Label, Prompt
from limrank_ir.verdict import Reading

__all__ = ["Engine", "Label"]


class Engine(Protocol):
    """The interface that `limrank_ir.LimRank` needs. Any object with these two members works.

    An engine may also have `tokens`, how many it has read and generated so far: then progress is shown while thoughts
    run, before any of them is finished.
    """

    @property
    def identity(self) -> str:
        """Everything in the engine that can change a reading (weights, precision, limits). Part of the store's key."""
        ...

    def read_labels(
        self,
        prompts: Sequence[Prompt],
        labels: Sequence[Label],
        *,
        think: bool,
        budget: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Reading]]]:
        """Read the log-probabilities of labels, batch by batch, in any order.

        Args:
            prompts: the rendered prompts.
            labels: the labels. One gives a raw logit, two a verdict, more a grade or a letter for each candidate.
            think: whether the model reasons before its label.
            budget: the maximum number of tokens of a thought.
            done: indices of prompts that are already known. Skip them, but form the same batches as if they
                were needed, so that a resumed run gives the same scores as an uninterrupted one.

        Yields:
            Batches of (index of the prompt, its reading), each as soon as it is ready.
        """
        ...
