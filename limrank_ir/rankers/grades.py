"""Grades that a model has written as JSON, as GroupRank does: ``{"[1]": 5, "[2]": 3}``.

The rules (what is thought, and not the answer, is as in `limrank_ir.rankers.parse`):

1. The last JSON object with a usable grade counts, wherever it stands: in a code fence, or before other text.
2. If there is none, as when the answer was cut, the pairs ``"[1]": 5`` in the text count, which is one repair.
3. A key is an identifier with or without brackets. Unknown ones are dropped, and of repeated ones the first counts.
4. A grade that is not a number, or out of range, is dropped, neither clipped nor guessed: the passage has no grade.
5. Passages without a grade are one repair each. An answer without any grade has failed.

`github AQ-MedAI/Diver: Reranker/rerank_groupwise.py` has rules 1 to 3 in another form; there, an unusable answer gives
everything in it the grade 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from limrank_ir.rankers.asking import Answer
from limrank_ir.rankers.parse import answer_part, place
from limrank_ir.rankers.tally import Parse, Parsed

_KEY = re.compile(r"\s*\[*\s*([0-9]{1,6}|[A-Za-z])\s*\]*\s*")
_NUMBER = re.compile(r"-?[0-9]{1,6}(?:\.[0-9]+)?")
_TRIES = 100  # more braces are no grades, and trying them all takes time that grows with their square
# A number with nothing behind it may have been cut within its digits.
_PAIR = re.compile(rf"[\"']([^\"'\n]{{1,20}})[\"']\s*:\s*[\"']?({_NUMBER.pattern})(?=[\"',}}\s])")


def grades(highest: float) -> Parse[dict[int, float]]:
    """A reader of grades.

    Args:
        highest: the highest grade; the lowest is 0.

    Returns:
        The reader. It gives the grade of each place in the set, from 0, that has one; or None if none has.
    """

    def parse(answer: Answer, passages: int) -> Parsed[dict[int, float]] | None:
        text = answer_part(answer.text)
        for pairs in _objects(text):
            if parsed := _usable(pairs, passages, highest):
                return parsed
        cut = _usable(_PAIR.findall(text), passages, highest)
        return cut and Parsed(cut.value, cut.repairs + 1)

    return parse


def _objects(text: str) -> Iterator[list[tuple[str, object]]]:
    """The JSON objects in a text, the last one first, as pairs: a dict would keep the last of repeated keys."""
    decoder = json.JSONDecoder(object_pairs_hook=list)
    for start in reversed([match.start() for match in re.finditer(r"\{", text)][-_TRIES:]):
        try:
            yield decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):  # a brace in other text, an object that was cut, or far too many braces
            continue


def _usable(pairs: Iterable[tuple[str, object]], passages: int, highest: float) -> Parsed[dict[int, float]] | None:
    found: dict[int, float] = {}
    dropped = 0
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        at = place(match[1]) if match else -1
        grade = _number(value)
        if 0 <= at < passages and at not in found and grade is not None and 0 <= grade <= highest:
            found[at] = grade
        else:
            dropped += 1
    return Parsed(found, dropped + passages - len(found)) if found else None


def _number(value: object) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e9 else None  # a whole number of 400 digits is no float
