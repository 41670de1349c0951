"""Long documents as overlapping windows of words; a document is as relevant as its best window.

The maximum over passages is the rule of "Deeper Text Understanding for IR with Contextual Neural Language Modeling"
(arXiv 1905.09217, MaxP), there with windows of 150 words that start every 75.
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
    """How documents are split.

    Attributes:
        size: words of a window; only the last one may have fewer, when the whole text does.
        stride: words between the beginnings of two windows, at most `size`, so that no word is left out.

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
            text: its text; blanks and line ends inside a window stay as they are.
            title: stands in front of every window.

        Returns:
            The windows, at least one. The last one ends where the text ends and is as long as the others, so the tail
            of a document is always read.
        """
        words = [match.span() for match in _WORD.finditer(text)]
        last = max(len(words) - self.size, 0)
        starts = [*range(0, last, self.stride), last]
        parts = [text[words[start][0] : words[min(start + self.size, len(words)) - 1][1]] for start in starts if words]
        return [" ".join(part for part in (title, window) if part) for window in parts or [""]]


def half(size: int) -> int:
    """The stride of windows that overlap by half: what is cut apart in one window is whole in another."""
    return (size + 1) // 2


def windows(size: int | None, stride: int | None) -> Windows | None:
    """What the options ``--window`` and ``--stride`` mean.

    Args:
        size: words of a window, or None: documents are not split.
        stride: words between their beginnings; None: half a window.

    Returns:
        The windows, or None.

    Raises:
        InputError: a stride without a size, or as for `Windows`.
    """
    if size is not None:
        return Windows(size, half(size) if stride is None else stride)
    if stride is not None:
        raise InputError(f"--stride {stride} has no effect without --window; give both, or neither")
    return None


def best(verdicts: Iterable[Verdict], counts: Sequence[int]) -> list[tuple[Verdict, int]]:
    """The best window of each document.

    Args:
        verdicts: of all windows, document after document.
        counts: how many windows each document has.

    Returns:
        For each document the verdict with the highest log-odds, of equal ones the first, and the window's number
        from 0.
    """
    stream = iter(verdicts)
    found = []
    for count in counts:
        own = list(islice(stream, count))
        number = max(range(count), key=lambda place: own[place].log_odds)
        found.append((own[number], number))
    return found
