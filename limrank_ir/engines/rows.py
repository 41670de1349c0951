"""One prompt in a batch of the local engine, and what the engine returns for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limrank_ir.errors import EngineError
from limrank_ir.verdict import Finish, Reading

if TYPE_CHECKING:
    from limrank_ir.engines.loading import LabelScores
    from limrank_ir.engines.tokens import Tokens


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One prompt in a batch.

    Attributes:
        index: the prompt's index.
        tokens: its tokens.
        span: the place of its shared prefix among the prefix tokens of the wave.
    """

    index: int
    tokens: Tokens
    span: tuple[int, int]

    @property
    def own(self) -> int:
        """The number of tokens after the shared prefix."""
        return len(self.tokens.ids) - (self.span[1] - self.span[0])


def reading_of(
    scores: LabelScores,
    reasoning: str | None,
    row: BatchRow,
    reasoning_tokens: int,
    finish: Finish,
    cut: int = 0,
) -> Reading:
    """Make a reading.

    Args:
        scores: what the model says of the labels.
        reasoning: the thought before them, or None.
        row: the prompt that they stand behind.
        reasoning_tokens: the length of the thought.
        finish: how it ended.
        cut: tokens that were cut before `row` was made.

    Returns:
        The reading.

    Raises:
        EngineError: a log-probability is not a finite number.
    """
    values = scores.logprobs + scores.logits
    if not all(map(math.isfinite, values)):
        wrong = next(value for value in values if not math.isfinite(value))
        raise EngineError(f"the model gave {wrong} for a prompt of {len(row.tokens.ids)} tokens; try dtype='float32'")
    cut += row.tokens.cut
    return Reading(scores.logprobs, reasoning, len(row.tokens.ids), reasoning_tokens, finish, cut, scores.logits)
