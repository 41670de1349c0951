"""Texts as words, which the filters compare."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Function words, and words about judging itself.
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
    """The words of a text, in order and in lower case."""
    return re.findall(r"\w+", text.lower())


def content_words(text: str) -> set[str]:
    """The distinct content words of a text that have three letters or more."""
    return {word for word in words(text) if len(word) > 2 and word not in _COMMON}


def ngrams(text: str, size: int) -> Iterator[tuple[str, ...]]:
    """The word n-grams of a text. A text shorter than `size` gives one n-gram of all its words."""
    found = words(text)
    for start in range(max(1, len(found) - size + 1)):
        yield tuple(found[start : start + size])
