"""Excerpt rows: a part of a passage is the query, and what is left of the passage is relevant to it.

This is the inverse cloze task (Lee et al., 2019, "Latent Retrieval for Weakly Supervised Open Domain Question
Answering", section 4). Half of the queries are a sentence, and half are long, as are those of collections that ask by
an abstract or an argument.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from limrank_ir.workshop.words import words

from .rows import Source

RULE = "excerpt"
NEGATIVES = 7
SENTENCES, LONG = 5, 80
"""A passage of fewer sentences or words has too little for a query and the rest."""

SHORTEST, LONGEST = 8, 40
"""The words of a sentence that can be understood alone."""

LEAST = 0.1
"""The cosine (tf-idf) from which a passage is like the query."""

_LISTED = """
    all another both but each he her his however it its other others she so such that their then there these they this
    those thus
"""
POINTING = frozenset(_LISTED.split())
"""First words of sentences that point back at others."""

_END = re.compile(r"(?<=[.!?])\s+(?=[\"“(]?[A-Z0-9])")


def excerpts(source: Source, seed: int) -> Iterator[dict[str, Any]]:
    """Make at most one row per row of a source, each from another passage.

    Args:
        source: the source.
        seed: what chooses passages and excerpts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    passages = source.passages
    if len(passages) <= NEGATIVES:
        return
    try:
        vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", max_df=0.2)
        vectors = vectorizer.fit_transform(passages)
    except ValueError:  # nothing but stop words, or words of all passages
        return
    used: set[str] = set()
    for row in source.rows:
        rng = row.random(seed)
        long = [text for text in (*row.pos, *row.neg) if text not in used and len(text.split()) >= LONG]
        sentences = _END.split(rng.choice(long).strip()) if long else []
        kind, first, last = _excerpt(sentences, rng) if len(sentences) >= SENTENCES else ("", 0, 0)
        if not kind:
            continue
        used.update(text for text in long if _END.split(text.strip()) == sentences)
        query, rest = " ".join(sentences[first:last]), " ".join(sentences[:first] + sentences[last:])
        likeness = (vectors @ vectorizer.transform([query]).T).toarray().ravel()
        negatives = [
            passages[place]
            for place in (-likeness).argsort(kind="stable")[:100].tolist()
            if likeness[place] >= LEAST and not _overlap(sentences, passages[place])
        ][:NEGATIVES]
        if len(negatives) == NEGATIVES:
            # The row's own instruction has nothing to do with this query.
            yield replace(row, instruction=None).made(RULE, kind, [rest], negatives, query=query)


def _excerpt(sentences: Sequence[str], rng: random.Random) -> tuple[str, int, int]:
    """Choose an excerpt: (kind, first sentence, last + 1), or an empty kind if no sentence can be understood alone."""
    middle = len(sentences) // 2
    if rng.random() < 0.5:
        return ("of a half", 0, middle) if rng.random() < 0.5 else ("of a half", middle, len(sentences))
    whole = [n for n, sentence in enumerate(sentences) if _stands_alone(sentence)]
    chosen = rng.choice(whole) if whole else 0
    return ("of a sentence" if whole else "", chosen, chosen + 1)


def _stands_alone(sentence: str) -> bool:
    found = words(sentence)
    return SHORTEST <= len(found) <= LONGEST and found[0] not in POINTING


def _overlap(sentences: Sequence[str], passage: str) -> bool:
    """Whether a passage has a sentence of another one: the next piece of the same text, or a copy."""
    inside = " ".join(words(passage))
    return any(len(found := words(sentence)) >= SHORTEST and " ".join(found) in inside for sentence in sentences)
