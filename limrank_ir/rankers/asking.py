"""What a ranker asks of a model, and what comes back.

Rankers know nothing of engines, prompts, or stores: they yield questions about a query and some passages, and receive
answers. Whoever asks renders the questions and keeps the answers (`limrank_ir.rankers.by_engine`); tests answer them
with a perfect, a noisy, or a nonsensical judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Read:
    """Read the log-probabilities of a task's labels at one place, without generating.

    Attributes:
        task: what is asked, which decides on prompt and labels, such as ``"judge"``, ``"grade"``, or ``"best"``.
        query: the query.
        passages: the passages that are shown, in this order; labels such as ``A, B, C`` or ``1, 2, 3`` stand for them.
        instruction: what counts as relevant, in the user's words.
        sample: which of several readings of the same question this is, such as repeats with other windows.
    """

    task: str
    query: str
    passages: tuple[str, ...]
    instruction: str | None = None
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """Let the model write an answer, which the ranker parses. The attributes are those of `Read`."""

    task: str
    query: str
    passages: tuple[str, ...]
    instruction: str | None = None
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Attend:
    """Read how much of the question's attention each passage gets. The attributes are those of `Read`."""

    task: str
    query: str
    passages: tuple[str, ...]
    instruction: str | None = None
    sample: int = 0


Question: TypeAlias = Read | Write | Attend


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    Attributes:
        logprobs: of a `Read`: the log-probability of each label, natural logarithm, in the order of the labels.
        text: of a `Write`: what the model wrote, with its thought.
        scores: of an `Attend`: the score of each passage, in the order in which they were shown; higher is better.
        tokens: how many tokens were read and written for it.
    """

    logprobs: tuple[float, ...] = ()
    text: str = ""
    scores: tuple[float, ...] = ()
    tokens: int = 0


class Ask(Protocol):
    """Answers questions, all of them, in order: many at once, so that an engine can batch them."""

    def __call__(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Answer each of the questions, in order."""
        ...
