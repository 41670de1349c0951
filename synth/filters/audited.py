"""Take out what an audit found: pairs whose label or reasoning is marked as wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..audit import Audit
from ..records import JudgedPair
from . import Sifted, sift

WRONG = {"label": "the label is marked as wrong", "reasoning": "the reasoning is marked as wrong"}
"""What makes a pair wrong, and the reason to drop it. The other questions ask how real a text is."""


def unmarked(pairs: Sequence[JudgedPair], audits: Iterable[Audit]) -> Sifted[JudgedPair]:
    """Keep pairs that no audit marks as wrong. Those that nobody looked at are kept.

    Args:
        pairs: the pairs.
        audits: the marks (`limrank_ir.synth.audit.read_audit`).
    """
    wrong = {(mark.id, question) for audit in audits for mark in audit.marks for question in mark.denied}

    def reason(pair: JudgedPair) -> str | None:
        return next((said for question, said in WRONG.items() if (pair.id, question) in wrong), None)

    return sift(pairs, reason)
