"""Engines run a language model over prompts: they read what it says at the label's place, or let it write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Protocol, cast

from limrank_ir.errors import InputError
from limrank_ir.prompts import Label, Prompt
from limrank_ir.verdict import Attended, Reading, Written

__all__ = ["Attender", "Engine", "Label", "Writer", "attender", "writer"]


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
            prompts: the rendered prompts, all of one format, so that the same text stands before each label.
            labels: the labels. One gives a raw logit, two a verdict, more a grade or a letter for each candidate.
            think: whether the model reasons before its label.
            budget: the maximum number of tokens of a thought.
            done: indices of prompts that are already known. Skip them, but form the same batches as if they
                were needed, so that a resumed run gives the same scores as an uninterrupted one.

        Yields:
            Batches of (index of the prompt, its reading), each as soon as it is ready.
        """
        ...


class Writer(Engine, Protocol):
    """An engine whose model can also write. `limrank_ir.rankers` need it where a model answers in words."""

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        budget: int,
        stop: Sequence[str] = (),
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Written]]]:
        """Continue prompts greedily, batch by batch, in any order.

        Args:
            prompts: the rendered prompts.
            budget: the maximum number of tokens of an answer. It may be less where the context has no room for it:
                a prompt gets at most half of the context if its answer needs the rest.
            stop: strings that end an answer, which are part of it.
            done: as for `Engine.read_labels`.

        Yields:
            Batches of (index of the prompt, what was written), each as soon as it is ready.
        """
        ...


class Attender(Engine, Protocol):
    """An engine that knows its model's attention, as the local one does."""

    def attend(
        self, pairs: Sequence[tuple[Prompt, Prompt]], *, done: Set[int] = frozenset()
    ) -> Iterator[list[tuple[int, Attended]]]:
        """Score the passages of prompts by the attention that they get from the question behind them.

        Args:
            pairs: prompts with the query in the suffix, each with the same prompt with a query that says nothing.
            done: as for `Engine.read_labels`.

        Yields:
            Batches of (index of the pair, the scores), each as soon as it is ready.
        """
        ...


def attender(engine: Engine) -> Attender:
    """An engine that knows its model's attention.

    Raises:
        InputError: it does not.
    """
    if not callable(getattr(engine, "attend", None)):
        raise InputError(
            f"{engine!r} does not give the model's attention, which this ranker reads; use engine='local', or choose "
            "another ranker, such as listwise"
        )
    return cast(Attender, engine)


def writer(engine: Engine) -> Writer:
    """An engine that can write.

    Raises:
        InputError: it can only read labels.
    """
    if not callable(getattr(engine, "write", None)):
        raise InputError(
            f"{engine!r} only reads labels, but this ranker lets the model write; choose a ranker that reads labels, "
            "or a language model with engine='local', 'vllm', or the URL of a server"
        )
    return cast(Writer, engine)
