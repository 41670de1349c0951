"""What a server logs about the questions of rankers: rankers' own runs log it at their end, which a server has not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from limrank_ir.rankers.asking import Answer, Question
from limrank_ir.rankers.by_engine import EngineAsk

log = logging.getLogger("limrank_ir")


@dataclass(frozen=True, slots=True)
class Remarking:
    """Answers questions, and logs what was cut, removed, or left unfinished in each batch, as for batches of pairs.

    Those around the same `EngineAsk` are equal, so that their questions can share a batch.

    Attributes:
        ask: answers the questions. Nobody else may use it meanwhile.
    """

    ask: EngineAsk

    def __call__(self, questions: Sequence[Question], *, progress: Callable[[int], None]) -> list[Answer]:
        """Answer questions.

        Args:
            questions: the questions.
            progress: called with the number of questions answered since its last call.

        Returns:
            The answer to each, in order.

        Raises:
            LimRankError: as for `EngineAsk`.
        """
        before = replace(self.ask.stats)
        try:
            return self.ask(questions, progress=progress)
        finally:  # what was answered before a failure is remembered, and would not be counted again
            for remark in (self.ask.stats - before).remarks():
                log.warning("%s", remark)
