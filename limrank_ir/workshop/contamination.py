"""Queries that must not be used: whether a text contains a query of a benchmark, or nearly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

from .words import STOP_WORDS
from .words import words as words_of

GRAM = 8
"""A text that shares this many words in a row with a benchmark's query contains it (as GPT-3's and later data sets)."""

SHORT = 2 * GRAM - 1
"""A query with fewer words loses all its 8-grams if somebody inserts one word, so it is looked for in another way."""

BETWEEN = 2
"""How many inserted words a short query may have."""

PAIRS = 0.8
"""The share of a short query's pairs of neighboring words that must still follow each other."""

CONTENT = 3
"""Shared words say something only with so many content words among them; "what is a" is in many queries."""

TEMPLATE, COMMON = 4, 10
"""Words in a row, and how many queries share them if they belong to a template ("which of the following ...")."""

_Words = Sequence[str]


class Benchmarks:
    """The queries of benchmarks, indexed so that many texts can be compared with them.

    A text contains a query if one of these is true:

    - Both have the same words.
    - They share 8 words in a row with at least three content words that are not part of a template, which is 4 words in
      a row that more than 10 queries share.
    - The query has fewer than 15 words, and at least three content words; and somewhere in the text, in a stretch that
      is at most two words longer than the query, are all its content words and 80% of its pairs of neighboring words,
      with at most two words in between. If it has two content words, the stretch must be the whole text.
    """

    def __init__(self, queries: Iterable[str], others: Iterable[str] = ()) -> None:
        """Index the queries.

        Args:
            queries: the queries; those without any word are ignored.
            others: more queries of their kind, which show templates where the queries are too few to.
        """
        texts = {tuple(words_of(query)): query for query in queries}
        texts.pop((), None)
        self._equal = {tuple(sorted(words)): query for words, query in texts.items()}
        self._grams = _telling_grams(texts, {*texts, *(tuple(words_of(query)) for query in others)})
        self._short: dict[str, list[tuple[frozenset[str], _Words, str]]] = defaultdict(list)
        frequency = Counter(word for words in texts for word in set(words))
        for words, query in texts.items():
            content = frozenset(words) - STOP_WORDS
            if len(words) < SHORT and len(content) > 1:
                rarest = min(sorted(content), key=frequency.__getitem__)
                self._short[rarest].append((content, words, query))
        self._found: dict[str, str | None] = {}

    def find(self, text: str) -> str | None:
        """Find a query that a text contains.

        Args:
            text: the text, such as a training query.

        Returns:
            The query as the benchmark has it, or None.
        """
        if text not in self._found:
            self._found[text] = self._find(words_of(text))
        return self._found[text]

    def _find(self, words: _Words) -> str | None:
        if (same := self._equal.get(tuple(sorted(words)))) is not None:
            return same
        for gram in _in_a_row(words, GRAM):
            if gram in self._grams:
                return self._grams[gram]
        here = set(words)
        for word in sorted(here & self._short.keys()):
            for content, query, as_written in self._short[word]:
                if content <= here and _contains(words, query, content):
                    return as_written
        return None


def _contains(words: _Words, query: _Words, content: frozenset[str]) -> bool:
    """Whether the words contain a short query."""
    size = len(query) + BETWEEN
    if len(content) < CONTENT and len(words) > size:
        return False
    asked = list(pairwise(query))
    for start in range(max(1, len(words) - size + 1)):
        stretch = words[start : start + size]
        if content <= set(stretch):
            pairs = {(a, b) for place, a in enumerate(stretch) for b in stretch[place + 1 : place + BETWEEN + 2]}
            if sum(pair in pairs for pair in asked) >= PAIRS * len(asked):
                return True
    return False


def _telling_grams(
    texts: Mapping[tuple[str, ...], str], everything: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], str]:
    """The 8-grams that have enough content words outside of templates, with the query that each comes from."""
    shared = Counter(part for words in everything for part in set(_in_a_row(words, TEMPLATE)))
    found = {}
    for words, query in texts.items():
        telling = [word not in STOP_WORDS for word in words]
        for start, part in enumerate(_in_a_row(words, TEMPLATE)):
            if shared[part] > COMMON:
                telling[start : start + TEMPLATE] = [False] * TEMPLATE
        before = [0, *accumulate(telling)]
        for start, gram in enumerate(_in_a_row(words, GRAM)):
            if before[start + GRAM] - before[start] >= CONTENT:
                found[gram] = query
    return found


def _in_a_row(words: _Words, size: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(size)), strict=False))
