"""The teacher of `distill`: rankers that exist, fused into one score for each (query, passage).

Some negatives mined with BM25 are partly relevant, and a hard label says nothing about the order among them. A ranker
does, and several know more than one. Their scores are computed once and saved (`scores`), compared with the labels
(`agreement`), and fused (`fusion`). Where the fused teacher contradicts the labels, it is corrected: otherwise it would
teach the opposite of `contrastive`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config import Data, DataSource
from ..rows import Group
from .agreement import Agreement, agreement
from .fusion import anchored, fused, without_false_negatives
from .scores import Rows, known_scores, save_scores

FUSED = "fused"
"""The name of all teachers together, next to the names in `Data.teacher`."""


@dataclass(frozen=True)
class Teaching:
    """What the teachers think of one source.

    Attributes:
        agreement: how far each teacher, and the fused one, agrees with the labels before anything is corrected; only
            teachers whose scores are known.
        false_negatives: how many negatives were dropped (`DataSource.drop_false_negatives`).
        lost_groups: how many groups were dropped with them, because no negative was left.
    """

    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    false_negatives: int = 0
    lost_groups: int = 0


@dataclass(frozen=True)
class Taught:
    """A mixture after its teachers.

    Attributes:
        groups: the groups in their order, with `Candidate.teacher` and without false negatives; unchanged if not
            `complete`.
        sources: for each source of the mixture, what the teachers think of it.
        complete: whether all scores are known.
    """

    groups: list[Group]
    sources: tuple[Teaching, ...]
    complete: bool


def teach(data: Data, groups: Sequence[Group], cache: Path, *, cached_only: bool = False) -> Taught:
    """Score a mixture with its teachers.

    Args:
        data: the configuration of the mixture.
        groups: the mixture.
        cache: the folder where scores are saved.
        cached_only: load no model; use only the scores that are saved.

    Returns:
        The mixture with the teachers' scores.

    Raises:
        InputError: a teacher is not available, or the cache cannot be written.
        EngineError: a teacher failed, or the cache is damaged.
    """
    parts = [
        [place for place, group in enumerate(groups) if group.source_number == number and _asks(source)]
        for number, source in enumerate(data.sources)
    ]
    if not cached_only:
        save_scores(data.teacher, [groups[place] for part in parts for place in part], cache)
    everything = [known_scores(data.teacher, [groups[place] for place in part], cache) for part in parts]
    complete = all(len(scores) == len(data.teacher) for scores in everything)
    after: dict[int, Group | None] = dict(enumerate(groups))
    sources = []
    for source, part, scores in zip(data.sources, parts, everything, strict=True):
        here = [groups[place] for place in part]
        if complete:
            scores[FUSED] = fused(scores, data.teacher)
            for place, row in zip(part, scores[FUSED], strict=True):
                after[place] = _corrected(groups[place], row, source, data)
        sources.append(_teaching(here, scores, [after[place] for place in part]))
    return Taught([group for group in after.values() if group is not None], tuple(sources), complete)


def _asks(source: DataSource) -> bool:
    """Whether the teachers' scores of a source are used."""
    return source.teacher != "none" or source.drop_false_negatives is not None


def _corrected(group: Group, scores: Sequence[float], source: DataSource, data: Data) -> Group | None:
    """The group without false negatives and with its teacher's scores; None if it has lost all its negatives."""
    pairs = list(zip(group.candidates, scores, strict=True))
    if source.drop_false_negatives is not None:
        pairs = without_false_negatives(pairs, source.drop_false_negatives)
        if len(pairs) < len(scores) and all(candidate.label for candidate, _ in pairs):
            return None
    if source.teacher == "anchored":
        pairs = anchored(pairs, data.teacher_margin)
    taught = source.teacher != "none"
    candidates = [replace(each, teacher=round(data.teacher_scale * s, 5)) if taught else each for each, s in pairs]
    return replace(group, candidates=tuple(candidates))


def _teaching(before: Sequence[Group], scores: Mapping[str, Rows], after: Sequence[Group | None]) -> Teaching:
    agreements = {name: agreement(before, rows) for name, rows in scores.items()}
    return Teaching(
        agreement={name: found for name, found in agreements.items() if found is not None},
        false_negatives=_negatives(before) - _negatives(after),
        lost_groups=after.count(None),
    )


def _negatives(groups: Sequence[Group | None]) -> int:
    return sum(not candidate.label for group in groups if group is not None for candidate in group.candidates)
