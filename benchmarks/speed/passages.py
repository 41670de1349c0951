"""What is read: real passages of Python's documentation, by length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from limrank_ir.demo.collection import passages
from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage

QUERY = (
    "My script sometimes leaves half a file behind when the power goes. The next start then reads garbage and "
    "crashes. How do I make sure that what I wrote is on disk before I go on?"
)
LENGTHS = {"short": (32, 96), "medium": (160, 320), "long": (400, 1000), "mixed": (20, 540)}
"""Name to the fewest and the most tokens of a passage. ``mixed`` is the collection's natural mix."""
SEED = 7
STEP = 256  # passages to tokenize at a time


@dataclass(frozen=True)
class Cell:
    """One point of the grid: the candidates of a query.

    Attributes:
        length: a key of `LENGTHS`.
        texts: the passages, in no order.
        tokens: their tokens, without the prompt around them.
    """

    length: str
    texts: tuple[str, ...]
    tokens: tuple[int, ...]

    @property
    def name(self) -> str:
        """Such as ``short, 100``."""
        return f"{self.length}, {len(self.texts)}"

    def spread(self, most: int) -> list[int]:
        """Indices of at most so many passages, evenly spread over the lengths, in the cell's order."""
        if len(self.texts) <= most:
            return list(range(len(self.texts)))
        by_length = sorted(range(len(self.texts)), key=lambda index: self.tokens[index])
        step = len(self.texts) / most
        return sorted(by_length[int((number + 0.5) * step)] for number in range(most))


def grid(tokenizer: Any, lengths: Sequence[str], candidates: Sequence[int]) -> list[Cell]:
    """Choose passages for each length and number of candidates.

    Args:
        tokenizer: the model's tokenizer (transformers).
        lengths: keys of `LENGTHS`.
        candidates: how many passages the query has.

    Returns:
        A cell for each combination. A larger one contains the smaller one of the same length.

    Raises:
        InputError: a length is unknown, or the collection has too few passages of it.
    """
    if unknown := [name for name in lengths if name not in LENGTHS]:
        raise InputError(f"--length {unknown[0]}: unknown; choose from {', '.join(LENGTHS)}")
    wanted = {length: max(candidates) for length in dict.fromkeys(lengths)}
    found: dict[str, list[tuple[str, int]]] = {length: [] for length in wanted}
    for text, size in _sizes(tokenizer):
        for length, chosen in found.items():
            fewest, most = LENGTHS[length]
            if len(chosen) < wanted[length] and fewest <= size <= most:
                chosen.append((text, size))
        if all(len(chosen) == wanted[length] for length, chosen in found.items()):
            break
    cells = []
    for length, chosen in found.items():
        for count in sorted(set(candidates)):
            if count > len(chosen):
                fewest, most = LENGTHS[length]
                raise InputError(
                    f"--candidates {count}: only {len(chosen)} passages in the collection have {fewest} to {most} "
                    f"tokens ({length}); use fewer"
                )
            texts, sizes = zip(*chosen[:count], strict=True)
            cells.append(Cell(length, texts, sizes))
    return cells


def _sizes(tokenizer: Any) -> Iterator[tuple[str, int]]:
    """The passages in an arbitrary but fixed order, each with its number of tokens."""
    texts = [passage.text for passage in _collection()]
    random.Random(SEED).shuffle(texts)
    for start in range(0, len(texts), STEP):
        some = texts[start : start + STEP]
        for text, ids in zip(some, tokenizer(some, add_special_tokens=False)["input_ids"], strict=True):
            yield text, len(ids)


@cache
def _collection() -> list[Passage]:
    return passages()
