"""Entity rows: a query with a rare name, term, or number, and passages that are like the positive but lack it.

Only queries with a single positive are used: where several facts are needed, a passage without the entity may be one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from limrank_ir.workshop.words import STOP_WORDS, words

from .rows import Row, Source

RULE = "entity"
LONG = 40
"""Longer queries have rare words that they do not ask about."""

NEGATIVES = 4
RARE = 0.002
"""A word is rare if it is in at most this share of a source's passages, and in fewer than 20 of them."""

LEAST, MOST = 0.1, 0.9
"""The cosine (tf-idf, without the rare words) from which a passage is like the positive, and up to which no copy."""

SHORT = 8
"""Passages of fewer words ("it grows well") may be about anything, also about the entity."""

_ACRONYM = re.compile(r"\b[A-Z][A-Z0-9]{2,}\b")


def entities(source: Source, seed: int) -> Iterator[dict[str, Any]]:
    """Make at most one row per row of a source.

    Args:
        source: the source.
        seed: not used: nothing is left to chance.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    passages = source.passages
    inside = [_stems(text) for text in passages]
    frequency = Counter(stem for stems in inside for stem in stems)
    rare = min(20, RARE * len(passages))
    if rare < 1:  # a word of a single one of so few passages is in too large a share of them
        return
    places = {text: place for place, text in enumerate(passages)}
    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", max_df=0.2)
    vectors = vectorizer.fit_transform(passages)
    right = _right(source.rows)
    for row in source.rows:
        if len(row.pos) > 1 or len(row.query.split()) > LONG:
            continue
        (passage,) = row.pos
        asked = {_stem(word) for word in words(row.query) if word not in STOP_WORDS and not _short(word)}
        named = {stem for stem in asked if frequency[stem] <= rare}
        # A name that is written out in the query may be an acronym elsewhere.
        named |= {stem for stem in map(str.lower, _ACRONYM.findall(passage)) if frequency[stem] <= rare}
        found = asked & named & inside[places[passage]]
        if not found or len(asked) < 3:
            continue
        # The likeness of everything else: with its rare words, the positive would be like nothing.
        rest = " ".join(word for word in words(f"{row.query} {passage}") if _stem(word) not in found)
        likeness = (vectors @ vectorizer.transform([rest]).T).toarray().ravel()
        best = [
            place
            for place in (-likeness).argsort(kind="stable")[:200].tolist()
            if LEAST <= likeness[place] <= MOST
            and not named & inside[place]
            and len(passages[place].split()) >= SHORT
            and passages[place] not in right[row.query]
        ][:NEGATIVES]
        if len(best) == NEGATIVES:
            yield row.made(RULE, "lacks a rare word", [passage], [passages[place] for place in best])


def _right(rows: Sequence[Row]) -> dict[str, set[str]]:
    """The relevant passages of each query, also where it is asked twice."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.query, set()).update(row.pos)
    return found


def _stems(text: str) -> frozenset[str]:
    return frozenset(map(_stem, words(text)))


def _stem(word: str) -> str:
    """A word without its plural and the like; enough to see whether a passage has it."""
    return re.sub(r"(?:'s|es|s|ed|ing|ly)$", "", word) if len(word) > 5 and word.isalpha() else word


def _short(word: str) -> bool:
    return len(word) < 4 and not word.isdigit()
