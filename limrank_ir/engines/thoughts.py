"""The rules of generated text that all engines share: how long it may be, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence

FORCED_END = 8  # tokens reserved for the forced end of a thought


def thought_limits(max_length: int, budget: int) -> tuple[int, int]:
    """Share the context: a prompt gets at most half of it if its thought needs the rest.

    Args:
        max_length: the maximum number of tokens in a prompt with its thought.
        budget: the maximum number of tokens of a thought that was asked for.

    Returns:
        The maximum number of tokens in a prompt, and of the thought.
    """
    limit = max(max_length - budget, max_length // 2) - FORCED_END
    return limit, min(budget, max_length - limit - FORCED_END)


def answer_limits(max_length: int, budget: int) -> tuple[int, int]:
    """Share the context between a prompt and a written answer, as `thought_limits`, but without a forced end.

    Args:
        max_length: the maximum number of tokens in a prompt with its answer.
        budget: the maximum number of tokens of an answer that was asked for.

    Returns:
        The maximum number of tokens in a prompt, and of the answer.
    """
    limit = max(max_length - budget, max_length // 2)
    return limit, min(budget, max_length - limit)


def before_stop(text: str, stops: Sequence[str]) -> str:
    """The thought in a text that contains a stop string: what comes before the first one."""
    return text[: min(text.index(stop) for stop in stops if stop in text)].strip()


def up_to_stop(text: str, stops: Sequence[str]) -> str:
    """A text up to the end of the stop string that ends first, which a token may have gone beyond."""
    return text[: min(text.index(stop) + len(stop) for stop in stops if stop in text)]
