"""A trace must be fit to learn from: of the right length, without tags, consistent, and about its passage."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..records import JudgedPair, Judgment
from ..words import content_words
from . import Sifted

SHARED = 3  # the minimum number of content words that a trace shares with its passage
_TAGS = re.compile(r"</?think>")


def sound(pairs: Sequence[JudgedPair], *, words: tuple[int, int]) -> Sifted[JudgedPair]:
    """Keep pairs that have a fit trace, and move it to the front: it becomes the training target.

    Args:
        pairs: pairs whose judgments agree.
        words: the minimum and maximum number of words in a trace.
    """
    kept: list[JudgedPair] = []
    dropped: dict[str, int] = {}
    for pair in pairs:
        faults = [_fault(judgment, pair, words) for judgment in pair.judgments]
        if None in faults:
            place = faults.index(None)
            order = (pair.judgments[place], *pair.judgments[:place], *pair.judgments[place + 1 :])
            kept.append(pair.model_copy(update={"judgments": order}))
        else:
            reason = str(faults[0])
            dropped[reason] = dropped.get(reason, 0) + 1
    return Sifted(kept, dropped)


def _fault(judgment: Judgment, pair: JudgedPair, words: tuple[int, int]) -> str | None:
    count = len(judgment.reasoning.split())
    if count < words[0]:
        return "the trace is too short"
    if count > words[1]:
        return "the trace is too long"
    if _TAGS.search(judgment.reasoning):
        return "the trace has think tags"
    last = re.findall(r"\b(?:true|false)\b", judgment.reasoning.lower()[-80:])
    if last and (last[-1] == "true") != judgment.label:
        return "the trace ends in the opposite verdict"
    if len(content_words(judgment.reasoning) & content_words(pair.passage.text)) < SHARED:
        return "the trace is not about the passage"
    return None
