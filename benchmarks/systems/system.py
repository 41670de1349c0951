"""What a system is: a reranker that the suite can load and run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, groupby
from typing import Any, TypeAlias

FIRST_STAGE = "bm25"  # its name and label
FUSION_WEIGHT = 0.5  # for dense retrievers and cross-encoders; each LimRank model has its own

ScoredRun: TypeAlias = dict[str, list[tuple[str, float]]]
"""qid to (docno, score)."""

InstructedPair: TypeAlias = tuple[str, str, str | None]
"""(query, passage, instruction)."""


class QueryPairs(list[InstructedPair]):
    """The pairs of several queries, of which two may have the same text.

    Attributes:
        lengths: the number of pairs of each query, in order.
    """

    def __init__(self, pairs: Iterable[InstructedPair], lengths: Iterable[int]) -> None:
        super().__init__(pairs)
        self.lengths = tuple(lengths)


def by_query(pairs: Sequence[InstructedPair]) -> list[range]:
    """The places of each query's pairs: as `QueryPairs` says, else neighbors with equal query and instruction."""
    if isinstance(pairs, QueryPairs):
        lengths: Sequence[int] = pairs.lengths
    else:
        lengths = [len(list(group)) for _, group in groupby(pairs, lambda pair: (pair[0], pair[2]))]
    ends = list(accumulate(lengths))
    return [range(end - length, end) for end, length in zip(ends, lengths, strict=True)]


@dataclass(frozen=True)
class Work:
    """What it took to score the candidates of a collection.

    Attributes:
        pairs: (query, passage) pairs.
        judged: pairs that the model read in this call. LimRank takes the rest from the verdicts of an earlier call.
        seconds: wall-clock time for the judged pairs, without loading the model.
        tokens: tokens of all pairs. A dense retriever reads each query and each passage once.
        cut: pairs whose passage was cut to fit.
        cut_tokens: tokens lost by cutting.
        forced: pairs whose thought reached no verdict, so that the verdict was forced.
        pair_tokens: the tokens of each pair, in order; None if they are not known by pair. Questions of a ranker
            are about several pairs: all tokens of a query then count for its first one.
        calls: different questions of a ranker, here or in an earlier call; None if each pair is one.
        repaired: answers to a ranker that were repaired.
        failed: answers to a ranker with nothing usable.
    """

    pairs: int
    judged: int
    seconds: float
    tokens: int
    cut: int
    cut_tokens: int
    forced: int = 0
    pair_tokens: tuple[int, ...] | None = None
    calls: int | None = None
    repaired: int = 0
    failed: int = 0

    @property
    def totals(self) -> dict[str, Any]:
        """All figures but those of single pairs, for JSON; those of a ranker, where there is one."""
        left_out = {"pair_tokens", *(("calls", "repaired", "failed") if self.calls is None else ())}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @property
    def pairs_per_second(self) -> float | None:
        """Speed, or None if nothing was judged in this call."""
        return self.judged / self.seconds if self.judged else None


Scorer: TypeAlias = Callable[[Sequence[InstructedPair], Callable[[int], None]], tuple[list[float], Work]]
"""A loaded model: takes pairs and a progress callback, returns a score for each pair and what it took."""


@dataclass(frozen=True)
class System:
    """A reranker.

    Attributes:
        name: what the user gave.
        label: its name in tables.
        identity: everything that changes a score.
        weight: its share in the fusion with the first stage (`limrank_ir.fuse`), the same for all collections.
        adapter: the content hash of its adapter, or None.
        start: loads the model.
        reads: what it reads of a topic, beside the passage.
        log_odds: whether its scores are log-odds of relevance, so that they can be read as probabilities.
        fresh: like `start`, but without looking up earlier verdicts, to take the time; None if `start` looks up none.
    """

    name: str
    label: str
    identity: str
    weight: float
    adapter: str | None
    start: Callable[[], Scorer]
    reads: str = "query"
    log_odds: bool = False
    fresh: Callable[[], Scorer] | None = None

    @property
    def file_name(self) -> str:
        """The label as part of a path."""
        return re.sub(r"[^\w.+-]+", "-", self.label)
