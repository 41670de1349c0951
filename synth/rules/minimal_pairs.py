"""Minimal pairs: the positive with one fact changed that the query states, so that a reader of both can tell.

A changed answer would not do: whoever reads only "when was it built?" and "it was built in 1904" cannot know that it is
wrong. So a number, a name, or a word of direction is changed only if the query has it, too, and everywhere in the
passage. Yes/no questions keep their directions: a passage that says the opposite answers them as well.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from limrank_ir.workshop.words import STOP_WORDS, words

from .facts import OPPOSITES, another_number, numbers, with_number, with_opposite
from .names import Names, mentions, with_name
from .rows import Row, Source

RULE = "minimal pair"
OFTEN = 4
"""A fact that a passage states more often than this is its topic; with all of it changed, the text makes no sense."""

LONGEST = 120
"""In a passage of more words, too much is left of what a name was about."""

AWAY = 3
"""How many words around a fact say what it is about."""

LONG = 40
"""In a passage of more words, the fact must stand in a sentence that has half of the query's content words."""

# A number that only limits what is asked: "prior to 2000"
_BOUND = r"\b(?:before|after|until|since|between|and|prior to|less than|more than|over|under)"
_YES_NO = re.compile(
    r"\W*(?:do|does|did|is|are|was|were|can|could|will|would|should|has|have|had|may|might)\b", re.IGNORECASE
)


def minimal_pairs(source: Source, seed: int) -> Iterator[dict[str, Any]]:
    """Make at most one row per row of a source: a positive, and the same with a fact changed.

    Args:
        source: the source.
        seed: what chooses the changes.
    """
    names = Names(source.passages)
    for row in source.rows:
        rng = row.random(seed)
        for passage in rng.sample(row.pos, len(row.pos)):
            found = {kind: text for kind, text in _changes(row, passage, names, rng) if text not in row.pos}
            if found:
                kind = rng.choice(sorted(found))
                yield row.made(RULE, kind, [passage], [found[kind]])
                break


def _changes(row: Row, passage: str, names: Names, rng: random.Random) -> Iterator[tuple[str, str]]:
    query = row.query
    shared = sorted(number for number in numbers(query) & numbers(passage) if float(number.replace(",", "")) >= 3)
    shared = [
        number
        for number in shared
        if _about_the_same(query, passage, number)
        and _asked(query, passage, number)
        and not re.search(rf"{_BOUND} {re.escape(number)}\b", query, re.IGNORECASE)
    ]
    if shared:
        number = rng.choice(shared)
        other = another_number(passage, number, numbers(query) | numbers(passage), rng)
        if other is not None:
            yield "number", with_number(passage, number, other)
    if "=" in passage:  # a calculation: other names or words would leave it right
        return
    known = [name for name in names.find(passage) if mentions(query, name)]
    if (
        len(known) == 1 and len(known[0]) > 3 and len(passage.split()) <= LONGEST
    ):  # with another name of the query left, it might still help
        name = known[0]
        if (
            _asked(query, passage, name)
            and passage.count(name) <= OFTEN
            and names.whole(passage, name)
            and not _left(passage, name)
        ):
            other = names.like(name, f"{query} {passage}", rng)
            if other is not None:
                yield "name", with_name(passage, name, other)
    if not _YES_NO.match(query):
        asked, here = words(query), words(passage)
        directions = [
            word
            for word in sorted(set(asked) & set(here) & OPPOSITES.keys())
            # With its opposite around, a comparison would become another comparison, and not its contrary.
            if OPPOSITES[word] not in {*asked, *here} and here.count(word) == 1
        ]
        directions = [
            word for word in directions if _about_the_same(query, passage, word) and _asked(query, passage, word)
        ]
        if directions:
            yield "direction", with_opposite(passage, rng.choice(directions))


def _about_the_same(query: str, passage: str, fact: str) -> bool:
    """Whether a number or word has a content word near it in the query that is near it in the passage, too."""
    return bool(_near(query, fact) & _near(passage, fact))


def _asked(query: str, passage: str, fact: str) -> bool:
    """Whether the sentence with a fact is what the query is about."""
    if len(passage.split()) <= LONG:
        return True
    asked = {word[:5] for word in words(query)} - STOP_WORDS
    sentences = [each for each in re.split(r"(?<=[.!?])\s+", passage) if mentions(each, fact)]
    return any(len(asked & {word[:5] for word in words(each)}) >= len(asked) / 2 for each in sentences)


def _near(text: str, fact: str) -> set[str]:
    """The content words at most three words away, without their endings, and signs right at it."""
    parts = re.findall(r"\d[\d.,]*\d|\w+|[%$£€°]", text.lower())
    found = set()
    for place, part in enumerate(parts):
        if part == fact:
            around = parts[max(0, place - AWAY) : place] + parts[place + 1 : place + 1 + AWAY]
            found |= {word[:5] for word in around if len(word) > 2 and not word[0].isdigit()} - STOP_WORDS
            found |= {sign for sign in parts[max(0, place - 1) : place + 2] if not sign.isalnum() and len(sign) == 1}
    return found


def _left(passage: str, name: str) -> bool:
    """Whether a word of the name stands elsewhere in the passage, too, or its capital letters do."""
    rest = with_name(passage, name, " ")
    initials = "".join(part[0] for part in name.split())
    return any(mentions(rest, part) for part in name.split() if part.lower() not in STOP_WORDS) or (
        len(initials) > 1 and initials in rest
    )
