"""ICR, in-context re-ranking: a passage's score is the attention that it gets from the query (arXiv 2410.02642).

The model reads all passages and then the query, and writes nothing. How the attention becomes scores is in
`limrank_ir.engines.attending`. The authors show all 100 candidates at once, the best ones last, next to the query
(github OSU-NLP-Group/In-Context-Reranking: run_icr_beir.sh, ``--reverse_doc_order``). Their code has sliding windows,
too, with the remark that ICR "typically works worse" with them, the more so the smaller they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from limrank_ir.rankers.asking import Answer, Attend
from limrank_ir.rankers.order import Candidates, Steps
from limrank_ir.rankers.sliding import Sliding
from limrank_ir.rankers.tally import Parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Icr(Sliding):
    """Rank by attention.

    Attributes:
        window: how many passages are shown at once. Those that do not fit into the model's context together are cut,
            the longest first; then fewer may be better. The other options are those of `Sliding`.
        reverse: whether the best passages, as the first stage sees them, are shown last.

    Raises:
        InputError: as for `Sliding`.
    """

    window: int = 100
    reverse: bool = True

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query."""
        turn = -1 if self.reverse else 1

        def order(answer: Answer, passages: int) -> Parsed[tuple[int, ...]] | None:
            scores = answer.scores[::turn]
            if len(scores) != passages or not all(map(math.isfinite, scores)):
                return None
            return Parsed(tuple(sorted(range(passages), key=lambda place: (-scores[place], place))))

        def question(shown: Sequence[int]) -> Attend:
            return candidates.attend("attention", shown[::turn])

        return self.slide(candidates, question, order)
