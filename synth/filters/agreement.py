"""Judgments must agree with each other and with the intended label, and a query needs passages of both kinds."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import JudgedPair
from . import Sifted, sift


def agreed(pairs: Sequence[JudgedPair], *, relabel: bool) -> Sifted[JudgedPair]:
    """Keep pairs whose judgments all give the intended label.

    Args:
        pairs: the judged pairs.
        relabel: if all judgments give the opposite label, keep the pair with that label instead of dropping it.
    """
    found = sift(pairs, lambda pair: _disagreement(pair, relabel=relabel))
    return Sifted([pair.model_copy(update={"label": pair.judgments[0].label}) for pair in found.kept], found.dropped)


def _disagreement(pair: JudgedPair, *, relabel: bool) -> str | None:
    labels = {judgment.label for judgment in pair.judgments}
    if len(labels) > 1:
        return "the judgments disagree"
    if labels != {pair.passage.intended} and not relabel:
        return f"meant to be {_word(pair.passage.intended)}, judged {_word(not pair.passage.intended)}"
    return None


def both_kinds(pairs: Sequence[JudgedPair]) -> Sifted[JudgedPair]:
    """Keep pairs of queries that have both a relevant passage and another one."""
    labels: dict[str, set[bool]] = {}
    for pair in pairs:
        labels.setdefault(pair.query.id, set()).add(pair.label)

    def reason(pair: JudgedPair) -> str | None:
        if True not in labels[pair.query.id]:
            return "the query has no relevant passage left"
        if False not in labels[pair.query.id]:
            return "the query has no other passage left"
        return None

    return sift(pairs, reason)


def _word(label: bool) -> str:
    return "true" if label else "false"
