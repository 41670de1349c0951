"""Listwise: the model writes the order of each window, ``[2] > [1] > [3]``.

RankGPT (arXiv 2304.09542) and RankZephyr (2312.02724) write it at once; ReasonRank and Rearank after a thought, in
``<answer>``; Rank-K after a thought, with ties. All slide windows of 20 by 10. How an answer is read and repaired is in
`limrank_ir.rankers.parse`.
"""

from __future__ import annotations

from dataclasses import dataclass

from limrank_ir.rankers.order import Candidates, Steps
from limrank_ir.rankers.parse import order
from limrank_ir.rankers.sliding import Sliding


@dataclass(frozen=True, slots=True, kw_only=True)
class Listwise(Sliding):
    """Rank by written orders of sliding windows; the options are those of `Sliding`."""

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query."""
        return self.slide(candidates, lambda shown: candidates.write("order", shown), order)
