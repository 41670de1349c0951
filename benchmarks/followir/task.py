"""What is measured: queries under two instructions, or passages of which an exclusion makes one the better."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.topics import Topic

from ..systems.system import ScoredRun
from .p_mrr import InstructionPair

T = TypeVar("T")

MAP, NDCG = "AP@1000", "nDCG@5"
MEASURES = (MAP, NDCG)


@dataclass(frozen=True)
class Preference:
    """Two passages of a query, of which one respects its constraint and the other does not.

    Attributes:
        qid: the query.
        better: the docno that should be ranked above the other.
        worse: the other.
        twin: the qid of the query whose preference is the other way round, or None.
    """

    qid: str
    better: str
    worse: str
    twin: str | None = None


@dataclass(frozen=True)
class InstructionTask:
    """A task, read and checked.

    Attributes:
        name: its name in tables.
        kind: what it is, in a sentence.
        topics: qid to query and instruction.
        passages: docno to what a system reads.
        candidates: qid to the docnos to score, at most k.
        given: the most candidates that a query had before the cut at k.
        qrels: qid to docno to grade.
        pairs: the queries under two instructions, for p-MRR.
        preferences: for the share of pairs in the right order.
        measure: the official measure of quality under the original instructions, of `MEASURES`; None for stand-ins.
        files: the files it was read from.
        revision: the pinned revision if it came from the hub, else None.
        mteb: mteb's own task object with the data loaded, or None for stand-ins.
        first_stage: the ranking of a first stage that reads no instruction, to compare with; may be empty.
    """

    name: str
    kind: str
    topics: Mapping[str, Topic]
    passages: Mapping[str, Passage]
    candidates: Mapping[str, Sequence[str]]
    given: int
    qrels: Mapping[str, Mapping[str, int]]
    pairs: Sequence[InstructionPair] = ()
    preferences: Sequence[Preference] = ()
    measure: str | None = None
    files: Sequence[Path] = ()
    revision: str | None = None
    mteb: Any = None
    first_stage: ScoredRun = field(default_factory=dict)

    @property
    def originals(self) -> list[str]:
        """The qids with an original instruction, each once."""
        return list(dict.fromkeys(pair.original for pair in self.pairs))

    @property
    def count(self) -> int:
        """(query, passage) pairs to score."""
        return sum(map(len, self.candidates.values()))


def sample(names: Sequence[T], count: int | None, seed: int) -> list[T]:
    """Sample by hash, so that a larger sample contains the smaller ones with the same seed.

    Args:
        names: what to sample from.
        count: how many; None: all.
        seed: the seed.

    Returns:
        The sample, in the order of `names`.
    """
    if count is None or count >= len(names):
        return list(names)
    chosen = set(sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count])
    return [name for name in names if name in chosen]
