"""What every kind of server has in common: what is asked of it, and what its answers say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from limrank_ir.engines.servers.connection import Fault

Token: TypeAlias = int | str
"""A token: its id, or its text if a server knows tokens by their texts alone."""

Step: TypeAlias = Mapping[Token, float]
"""The log-probabilities that a server gives at one place: those of the labels, of the likeliest tokens, or both."""

BIAS = 100.0  # enough to make any token the likeliest; the most that OpenAI's API allows


@dataclass(frozen=True, slots=True)
class Served:
    """A model on a server.

    Attributes:
        kind: ``"vllm"``, ``"sglang"``, ``"llama.cpp"``, or ``"openai"`` for any other with OpenAI's API.
        version: the server's version, or what else can change its answers; "" if it does not say.
        model: the model's name there.
        adapter: whether that is the name of an adapter, not of the base model.
        context: the number of tokens that the server has room for, or None if it does not say.
        slots: how many prompts it has room for at a time, each with its cache, or None if it does not say.
    """

    kind: str
    version: str
    model: str
    adapter: bool = False
    context: int | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a server.

    Attributes:
        prompt: token ids, or text for a server that takes no ids.
        labels: the label tokens whose log-probabilities are wanted; none: no log-probabilities.
        tokens: the maximum number of tokens to generate.
        stops: the strings that end the generation; the server may go on after them.
        force: the id of a token to generate whatever the model would say, or None.
    """

    prompt: Sequence[int] | str
    labels: Sequence[Token]
    tokens: int = 1
    stops: Sequence[str] = ()
    force: int | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """What a server generated.

    Attributes:
        tokens: the generated tokens, with the stop string and the end of the text.
        steps: what it says at each token, or nothing if it was not asked.
        full: whether it stopped because the maximum number of tokens was reached.
        prompt_tokens: the length of the prompt as the server counts it, or None if it does not say.
    """

    tokens: list[Token]
    steps: list[Step]
    full: bool
    prompt_tokens: int | None


class Wire(Protocol):
    """How to ask servers of one kind. `takes_ids`: whether prompts are token ids."""

    takes_ids: bool

    def request(self, served: Served, question: Question) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request."""
        ...

    def answer(self, answer: Any) -> Generated:
        """Read an answer, which may be empty: a model may end its text at once.

        Raises:
            Fault: it is not what was asked for.
        """
        ...


def field(value: Any, *names: str | int, kind: type | tuple[type, ...] = object) -> Any:
    """A value inside an answer.

    Args:
        value: the answer.
        names: the names and places that lead to the value.
        kind: what it must be.

    Returns:
        The value.

    Raises:
        Fault: it is not there.
    """
    for name in names:
        try:
            value = value[name]
        except (TypeError, KeyError, IndexError):
            raise Fault(f"an answer without {'.'.join(map(str, names))}") from None
    if not isinstance(value, kind):
        raise Fault(f"an answer in which {'.'.join(map(str, names))} is {type(value).__name__}")
    return value


def logprob(value: Any) -> float:
    """A log-probability.

    Raises:
        Fault: it is not a number, or one that stands for none: vLLM writes -9999 for minus infinity.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= -9999:
        raise Fault(f"an answer with the log-probability {value}")
    return float(value)
