"""Windows that slide from the end of a ranking to its top, each putting its passages into order (RankGPT, 2304.09542).

Neighboring windows share ``window - stride`` passages, which carry the best of what is below upwards. So if every
window is ordered perfectly, one pass brings the best ``window - stride`` of all candidates to the top, in order, and
no more is certain: what comes next may be any passage. Each further pass brings as many more, so that ``repeats``
passes give the best ``repeats * (window - stride)`` (Zhuang et al., arXiv 2310.09497, section 4.2: windows of 4, a
stride of 2, and 5 passes for the best 10). Candidates that fit into one window come out in perfect order at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from limrank_ir.errors import InputError
from limrank_ir.rankers.asking import Question
from limrank_ir.rankers.order import Candidates, Steps, at_least, ranked, within
from limrank_ir.rankers.tally import Parse, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliding:
    """Options of rankers with sliding windows.

    Attributes:
        depth: how many of the first candidates to rank; the others follow in their old order. None: all.
        window: how many passages a window has; 20 in RankGPT and its successors.
        stride: how many passages up each next window begins, below `window`; None: half of it, as in RankGPT.
        repeats: the number of passes. A pass that changes nothing is the last: others would ask the same again.

    Raises:
        InputError: a number is too low, or the stride is not below the window: neighbors would share nothing.
    """

    depth: int | None = None
    window: int = 20
    stride: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        at_least(0, depth=self.depth)
        at_least(2, window=self.window)
        at_least(1, stride=self.stride, repeats=self.repeats)
        if self.step >= self.window:
            raise InputError(
                f"a stride of {self.stride} with windows of {self.window}: neighboring windows share no passage, so "
                f"none can rise; give a stride below {self.window}"
            )

    @property
    def step(self) -> int:
        """How many passages up each next window begins."""
        return self.window // 2 if self.stride is None else self.stride

    def calls(self, count: int) -> int:
        """The most questions that a number of candidates can cost: ``repeats * (1 + ceil((N - window) / stride))``.

        ``O(r * (N / s))`` in table 1 of arXiv 2310.09497. It is 1 a pass if all are in one window, and 0 for fewer than
        2 candidates.
        """
        depth = within(self.depth, count)
        return 0 if depth < 2 else self.repeats * (1 + math.ceil(max(0, depth - self.window) / self.step))

    def slide(
        self,
        candidates: Candidates,
        question: Callable[[Sequence[int]], Question],
        parse: Parse[tuple[int, ...]],
    ) -> Steps:
        """Rank the candidates of one query, with at most `calls` questions.

        Args:
            candidates: the candidates.
            question: asks for the order of some of them.
            parse: reads that order.

        Returns:
            The order. A window whose answer is of no use keeps its own.
        """
        count = len(candidates.texts)
        order = list(range(within(self.depth, count)))
        tally = Tally()
        for _ in range(self.repeats):
            before = list(order)
            for start, end in self._windows(len(order)):
                shown = order[start:end]
                (found,) = yield from tally.ask([question(shown)], parse)
                if found is not None:
                    order[start:end] = [shown[place] for place in found]
            if order == before:
                break
        return ranked(count, order, tally.counts)

    def _windows(self, count: int) -> Iterator[tuple[int, int]]:
        """From the end to the top. The last window begins at the top, also where strides do not divide the rest."""
        end = count if count > 1 else 0
        while end:
            start = max(0, end - self.window)
            yield start, end
            end = end - self.step if start else 0
