"""Splitting long documents into overlapping windows of words; a document is as relevant as its best window.

The maximum over passages is MaxP from "Deeper Text Understanding for IR with Contextual Neural Language Modeling"
(arXiv 1905.09217), which uses windows of 150 words that start every 75 words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from limrank_ir.errors import InputError
from limrank_ir.verdict import Verdict

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Windows:
    """How to split documents.

    Attributes:
        size: words per window; a document with fewer words is one window.
        stride: words from the start of one window to the next, at most `size`, so that no word is left out.

    Raises:
        InputError: a number is below 1, or the stride is longer than a window.

    Example:
        >>> Windows(3, 2).split("a b c d e f", title="T")
        ['T a b c', 'T c d e', 'T d e f']
    """

    size: int
    stride: int

    def __post_init__(self) -> None:
        if self.size < 1 or not 1 <= self.stride <= self.size:
            raise InputError(
                f"windows of {self.size} words every {self.stride}: a window needs at least 1 word, and a stride from "
                "1 to the window's size, or words would be left out"
            )

    def split(self, text: str, title: str | None = None) -> list[str]:
        """Split a document.

        Args:
            text: its text; whitespace within a window is kept.
            title: its title, which goes in front of every window.

        Returns:
            The windows, at least one. The last one ends at the end of the text and is as long as the others, so the end
            of a document is always read.
        """
        words = [match.span() for match in _WORD.finditer(text)]
        last = max(len(words) - self.size, 0)
        starts = [*range(0, last, self.stride), last]
        parts = []
        for start in starts:
            inside = words[start : start + self.size]
            parts.append(text[inside[0][0] : inside[-1][1]] if inside else "")
        return [" ".join(filter(None, (title, part))) for part in parts]


def half(size: int) -> int:
    """The stride of windows that overlap by half, so that what one window cuts apart is complete in another."""
    return (size + 1) // 2


def windows(size: int | None, stride: int | None) -> Windows | None:
    """The windows for the options ``--window`` and ``--stride``.

    Args:
        size: words per window, or None to not split documents.
        stride: words from the start of one window to the next, or None for half a window.

    Returns:
        The windows, or None.

    Raises:
        InputError: there is a stride without a size; or as for `Windows`.
    """
    if size is not None:
        return Windows(size, half(size) if stride is None else stride)
    if stride is not None:
        raise InputError(f"--stride {stride} has no effect without --window; give both, or neither")
    return None


def best(verdicts: Iterable[Verdict], counts: Sequence[int]) -> list[tuple[Verdict, int]]:
    """The best window of each document.

    Args:
        verdicts: the verdicts of all windows, document by document.
        counts: the number of windows of each document.

    Returns:
        For each document, the verdict with the highest log-odds (the first of ties) and the number of its window,
        from 0.
    """
    stream = iter(verdicts)
    found = []
    for count in counts:
        own = list(islice(stream, count))
        number = max(range(count), key=lambda place: own[place].log_odds)
        found.append((own[number], number))
    return found
