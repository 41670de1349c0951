"""FIRST: the order of a window is that of the log-probabilities of its first identifier (arXiv 2406.15657).

A listwise model that is about to write ``[2] > [1] > [3]`` has already decided: after the opening bracket, the
log-probabilities of all identifiers are its order, read in one step for each window. Zhuang et al. (arXiv 2310.09497,
section 3.3, ``listwise.likelihood``) do the same with the question for the best of a set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from limrank_ir.errors import InputError
from limrank_ir.rankers.asking import Answer
from limrank_ir.rankers.labels import labels
from limrank_ir.rankers.order import Candidates, Steps
from limrank_ir.rankers.sliding import Sliding
from limrank_ir.rankers.tally import Parsed

Task = Literal["order", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class First(Sliding):
    """Rank by the first identifiers of sliding windows.

    Attributes:
        task: ``order``: the question of listwise rankers (FIRST); ``best``: that of setwise ones. The other options are
            those of `Sliding`.

    Raises:
        InputError: the task is neither, or as for `Sliding`.
    """

    task: Task = "order"

    def __post_init__(self) -> None:
        Sliding.__post_init__(self)
        if self.task not in get_args(Task):
            raise InputError(f"first: the task is {self.task!r}; choose one of {', '.join(get_args(Task))}")

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query."""
        return self.slide(candidates, lambda shown: candidates.read(self.task, shown), _order)


_labels = labels()


def _order(answer: Answer, passages: int) -> Parsed[tuple[int, ...]] | None:
    read = _labels(answer, passages)
    if read is None:
        return None
    return Parsed(tuple(sorted(range(passages), key=lambda place: (-read.value[place], place))))
