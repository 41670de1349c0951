"""Calibration of a system over the collections, from its runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from limrank_ir.formats.trec import RunEntry
from limrank_ir.ranking.calibration import Bins, calibration

RELEVANT = 1  # the lowest grade that counts as relevant, as in trec_eval


def calibrated(
    found: Iterable[tuple[Mapping[str, Sequence[RunEntry]], Mapping[str, Mapping[str, int]]]], bins: Bins
) -> dict[str, Any] | None:
    """Compare a system's P(true) with the judgments of its candidates.

    Args:
        found: for each collection, the system's run (its scores are log-odds) and the judgments.
        bins: how to cut the reliability table.

    Returns:
        A `limrank_ir.ranking.calibration.Calibration` as values, with ``cut`` (the kind of bins) and ``collections``
        (how many count). Unjudged candidates are left out, and so are collections whose judged candidates are all
        relevant or all not: many judge only what is relevant, and say nothing of the rest. None if none counts.
    """
    log_odds: list[float] = []
    relevant: list[bool] = []
    collections = 0
    for run, qrels in found:
        judged = [
            (entry.score, qrels[qid][entry.docno] >= RELEVANT)
            for qid, entries in run.items()
            for entry in entries
            if qrels.get(qid, {}).get(entry.docno, -1) >= 0
        ]
        if len({truth for _, truth in judged}) == 2:
            collections += 1
            log_odds += [score for score, _ in judged]
            relevant += [truth for _, truth in judged]
    if not collections:
        return None
    return {
        **dataclasses.asdict(calibration(log_odds, relevant, bins=bins)),
        "cut": bins,
        "collections": collections,
    }
