"""Names in the passages of a source, found by their capital letters, and names that stand where others do."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from limrank_ir.workshop.words import STOP_WORDS

_WORD = re.compile(r"[^\W\d_][\w'\u2019.-]*\w|[^\W\d_]")
_NAME = re.compile(r"(?<![\w-])[A-Z][\w'\u2019-]*(?: (?:(?:of|de|von|van|the) )?[A-Z][\w'\u2019-]*){0,3}(?![\w-])")
_ENDS = re.compile(r"(?:^|[.!?:\"“(\n]|[-•] )\s*$")

ALWAYS = 0.9
"""A word is a name's if this share of its occurrences inside sentences has a capital letter."""


MANY = 500
"""Words around more different names than this say nothing about them."""


class Names:
    """The names of a source, with the words around them."""

    def __init__(self, passages: Iterable[str]) -> None:
        """Count words and names.

        Args:
            passages: the passages of the source.
        """
        texts = list(passages)
        capital: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for text in texts:
            for match in _WORD.finditer(text):
                if not _ENDS.search(text[max(0, match.start() - 4) : match.start()]):
                    total[match[0].lower()] += 1
                    capital[match[0].lower()] += match[0][0].isupper()
        self._proper = {word for word, count in total.items() if capital[word] >= ALWAYS * count}
        self._around: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            for name, before, after in self._places(text):
                self._around[name].update((f"{before} _", f"_ {after}"))
        self._by_context: dict[str, set[str]] = defaultdict(set)
        for name, contexts in self._around.items():
            for context in contexts:
                self._by_context[context].add(name)

    def find(self, text: str) -> list[str]:
        """The different names in a text, in order."""
        return list(dict.fromkeys(name for name, _, _ in self._places(text)))

    def whole(self, text: str, name: str) -> bool:
        """Whether a name is nowhere in the text a part of a longer one."""
        return sum(found == name for found, _, _ in self._places(text)) == len(_pattern(name).findall(text))

    def like(self, name: str, taken: str, rng: random.Random) -> str | None:
        """A name that stands between the same words as another one, and has the same shape.

        Args:
            name: the name.
            taken: a text whose names must not be chosen.
            rng: what chooses, among the five that are most like it.

        Returns:
            The other name, or None.
        """
        here = set(re.findall(r"\w+", taken.lower()))
        sides: dict[bool, defaultdict[str, float]] = {True: defaultdict(float), False: defaultdict(float)}
        for context in self._around.get(name, ()):
            others = self._by_context[context]
            if len(others) <= MANY:
                for other in others:
                    sides[context.startswith("_")][other] += 1 / len(others)
        both = {other: sides[True][other] * sides[False][other] for other in sides[True].keys() & sides[False].keys()}
        best = [
            other
            for other, _ in sorted(both.items(), key=lambda item: (-item[1], item[0]))
            if _shape(other) == _shape(name) and not set(other.lower().split()) & here
        ][:5]
        return rng.choice(best) if best else None

    def _places(self, text: str) -> Iterable[tuple[str, str, str]]:
        """Each name with the words before and after it."""
        for match in _NAME.finditer(text):
            words = match[0].split()
            # A sentence's first word is part of a name only if it is one elsewhere.
            first = _ENDS.search(text[max(0, match.start() - 4) : match.start()])
            while words and (words[0].lower() in STOP_WORDS or (first and words[0].lower() not in self._proper)):
                words.pop(0)
                first = None
            if len(words) == 1 and words[0].lower() not in self._proper:
                continue
            while words and words[-1].lower() in STOP_WORDS:
                words.pop()
            name = " ".join(words)
            if len(name) > 2 and not name.startswith(("I'", "I\u2019")) and name.lower() in match[0].lower():
                start = match.start() + match[0].find(name)
                before = re.findall(r"\w+|[^\w\s]", text[max(0, start - 30) : start])
                after = re.findall(r"\w+|[^\w\s]", text[start + len(name) : start + len(name) + 30])
                yield name, (before or ["^"])[-1].lower(), (after or ["$"])[0].lower()


def _shape(name: str) -> tuple[bool, bool, bool, bool, bool]:
    adjective = name.endswith(("ish", "ese", "ian", "can", "ean", "ch"))  # as "French"
    return (
        len(name.split()) > 1,
        name.isupper(),
        any(letter.isdigit() for letter in name),
        name.endswith(("'s", "\u2019s")),
        adjective,
    )


def with_name(text: str, name: str, other: str) -> str:
    """Replace a name everywhere in a text."""
    return _pattern(name).sub(lambda match: other, text)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


def mentions(text: str, name: str) -> bool:
    """Whether a text has all words of a name in a row, in any case."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE) is not None
