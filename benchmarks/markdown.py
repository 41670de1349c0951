"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

Table: TypeAlias = tuple[list[str], list[list[str]]]
"""(header, rows)."""


def markdown(table: tuple[Sequence[str], Sequence[Sequence[str]]], left: Collection[int] = (0,)) -> str:
    """Write a table.

    Args:
        table: header and rows, texts.
        left: the columns that are aligned to the left; numbers, in the others, to the right.

    Returns:
        Lines of Markdown.

    Example:
        >>> print(markdown((["", "nDCG@10"], [["bm25", "0.443"]])))
        |  | nDCG@10 |
        | :-- | --: |
        | bm25 | 0.443 |
    """
    header, rows = table
    alignment = [":--" if column in left else "--:" for column in range(len(header))]
    lines = []
    for row in (header, alignment, *rows):
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
