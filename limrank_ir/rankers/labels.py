"""Reading the log-probabilities of labels, which need no repair: they are all there, or of no use."""

from __future__ import annotations

import math

from limrank_ir.rankers.asking import Answer
from limrank_ir.rankers.tally import Parse, Parsed


def labels(number: int | None = None) -> Parse[tuple[float, ...]]:
    """A reader of a question's labels.

    Args:
        number: how many labels the task has; None: one for each passage.

    Returns:
        The reader. It gives the log-probabilities, in the order of the labels, or None if they are more or fewer or one
        is not a finite number.
    """

    def parse(answer: Answer, passages: int) -> Parsed[tuple[float, ...]] | None:
        if len(answer.logprobs) != (passages if number is None else number):
            return None
        return Parsed(tuple(answer.logprobs)) if all(map(math.isfinite, answer.logprobs)) else None

    return parse
