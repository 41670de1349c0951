"""What a trace claims must be there: its quotes, and the numbers and names that it ascribes to the passage.

Traces of one query must not contradict each other either. Each judge is told what the query needs, the same for all of
its passages, and a trace that states the right answer may only use numbers and names of the need, the query, and its
passage. So two traces cannot state different answers, unless one of them reports what its passage says.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ..words import words

QUOTED = 4
"""Quotes of at least this many words must occur in a source. Shorter ones may be terms."""
_QUOTES = re.compile(r'"([^"]+)"')
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_CLAIM = re.compile(
    r"\b(?:passage|text|excerpt|article|abstract|post|entry|author|writer)\b"
    r"|\b(?:right|correct|true|real|actual|needed) (?:answer|figure|number|value|date|year|name|place|rule|limit)\b"
    r"|\b(?:the )?answer (?:is|would be|should be)\b|\bactually (?:is|was|are|were)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<=[\w,;:)'] )[A-Z][a-z]{2,}(?:['-]?[A-Za-z]+)*")
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDED = {name: value for value, name in enumerate(_ONES)} | {name: 10 * n for n, name in enumerate(_TENS, 2)}


def ungrounded(trace: str, sources: Iterable[str]) -> str | None:
    """Find a claim of a trace that its sources do not bear out.

    Two rules. A quote of 4 words or more occurs in a source word by word (parts around an ellipsis one by one). And in
    a sentence about the passage or about the right answer, each number occurs in a source, and so does each capitalized
    name, or a word with the same first four letters (Kenya, Kenyan). Case, accents, and punctuation are ignored, and
    number words up to ninety-nine count as numbers.

    Args:
        trace: the reasoning.
        sources: the passage, the query, and what the query needs.

    Returns:
        What is wrong, with the words; None: nothing.
    """
    trace, text = _plain(trace), _plain("\n".join(sources))
    told = f" {' '.join(words(text))} "
    for quote in _QUOTES.findall(trace):
        for part in re.split(r"\.\.\.|\[[^\]]*\]", quote):
            said = words(part)
            if len(said) >= QUOTED and f" {' '.join(said)} " not in told:
                return f"a quote that is in no source ({part.strip()!r})"
    numbers, stems = _numbers(text) | _worded(text), {word[:4] for word in words(text)}
    for sentence in filter(_CLAIM.search, _SENTENCE.split(trace)):
        if unknown := sorted(_numbers(sentence) - numbers):
            return f"a number that is in no source ({unknown[0]!r})"
        for name in _NAME.findall(sentence):
            if name.lower()[:4] not in stems:
                return f"a name that is in no source ({name!r})"
    return None


def _numbers(text: str) -> set[str]:
    """The numbers in digits, without commas for thousands: "1,500" is "1500", "1:30" is "1" and "30"."""
    return {
        part.strip(".").removesuffix(".0")
        for found in _NUMBER.findall(text)
        for part in found.replace(",", "").split(":")
    }


def _worded(text: str) -> set[str]:
    found, last = set(), 0
    for word in words(text):
        value = _WORDED.get(word)
        if value is not None:
            found |= {str(value), str(last + value)} if last and value < 10 else {str(value)}
        last = value if value is not None and value >= 20 else 0
    return found


def _plain(text: str) -> str:
    """Without accents, and with straight quotation marks."""
    marks = {0x201C: '"', 0x201D: '"', 0x2018: "'", 0x2019: "'"}
    text = unicodedata.normalize("NFKD", text.translate(marks))
    return "".join(letter for letter in text if not unicodedata.combining(letter))
