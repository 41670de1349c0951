"""Texts as words, which the filters compare."""

from __future__ import annotations

from collections.abc import Iterator

from limrank_ir.workshop.words import STOP_WORDS, words

# Words about judging itself.
_JUDGING = """
    query passage question answer answers relevant irrelevant relevance true false document text user asks asked
"""
_COMMON = STOP_WORDS | frozenset(_JUDGING.split())


def content_words(text: str) -> set[str]:
    """The distinct content words of a text that have three letters or more."""
    return {word for word in words(text) if len(word) > 2 and word not in _COMMON}


def ngrams(text: str, size: int) -> Iterator[tuple[str, ...]]:
    """The word n-grams of a text. A text shorter than `size` gives one n-gram of all its words."""
    found = words(text)
    for start in range(max(1, len(found) - size + 1)):
        yield tuple(found[start : start + size])
