"""Texts as words: what the filters compare."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Words without content, and those of the judging itself.
_LISTED = """
    a about above after again against all also although am an and any are as at be because been before being below
    between both but by can cannot could did do does doing down during each either even every few for from further
    had has have having he her here hers him his how however i if in into is it its itself just like may me might
    more most much must my neither no nor not now of off often on once one only or other our out over own rather
    same she should since so some still such than that the their them then there these they this those though
    through thus to too two under until up upon us use used using very was we were what when where whether which
    while who whose why will with within without would yes yet you your
    query passage question answer answers relevant irrelevant relevance true false document text user asks asked
"""
_COMMON = frozenset(_LISTED.split())


def words(text: str) -> list[str]:
    """A text's words, in lower case, in order."""
    return re.findall(r"\w+", text.lower())


def content_words(text: str) -> set[str]:
    """A text's different words of three letters and more that carry content."""
    return {word for word in words(text) if len(word) > 2 and word not in _COMMON}


def ngrams(text: str, size: int) -> Iterator[tuple[str, ...]]:
    """A text's word n-grams; of a shorter text all its words."""
    found = words(text)
    for start in range(max(1, len(found) - size + 1)):
        yield tuple(found[start : start + size])
