"""A trace must be fit to learn from: without tags, consistent, about its passage, and true to its sources."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..records import JudgedPair, Judgment
from ..words import content_words
from . import Sifted
from .grounding import ungrounded

SHARED = 3  # the minimum number of content words that a trace shares with its passage
_TAGS = re.compile(r"</?think>")


def sound(pairs: Sequence[JudgedPair]) -> Sifted[JudgedPair]:
    """Keep pairs that have a fit trace, and move it to the front: it becomes the training target.

    Args:
        pairs: pairs whose judgments agree.
    """
    kept: list[JudgedPair] = []
    dropped: dict[str, int] = {}
    for pair in pairs:
        faults = [_fault(judgment, pair) for judgment in pair.judgments]
        if None in faults:
            place = faults.index(None)
            order = (pair.judgments[place], *pair.judgments[:place], *pair.judgments[place + 1 :])
            kept.append(pair.model_copy(update={"judgments": order}))
        else:
            reason = str(faults[0])
            dropped[reason] = dropped.get(reason, 0) + 1
    return Sifted(kept, dropped)


def _fault(judgment: Judgment, pair: JudgedPair) -> str | None:
    if _TAGS.search(judgment.reasoning):
        return "the trace has think tags"
    last = re.findall(r"\b(?:true|false)\b", judgment.reasoning.lower()[-80:])
    if last and (last[-1] == "true") != judgment.label:
        return "the trace ends in the opposite verdict"
    if len(content_words(judgment.reasoning) & content_words(pair.passage.text)) < SHARED:
        return "the trace is not about the passage"
    wrong = ungrounded(judgment.reasoning, (pair.passage.text, pair.query.text, pair.need))
    return None if wrong is None else f"the trace has {wrong.split(' (')[0]}"
