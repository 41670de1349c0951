"""Group prompts into waves and batches. The same prompts always give the same groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from limrank_ir.prompts import Prompt

T = TypeVar("T")

GROUPS_PER_WAVE = 32
PROMPTS_PER_WAVE = 2048
MIN_SHARED_TOKENS = 8  # running a shorter prefix separately does not pay


def waves(prompts: Mapping[int, Prompt]) -> Iterator[list[list[int]]]:
    """Group prompts by query and return the groups in waves, which bounds the memory for text and tokens.

    Args:
        prompts: the prompts by index.

    Yields:
        Waves. A wave is a list of groups; a group is a list of indices of prompts with the same prefix. Queries keep
        the order of their first prompts.
    """
    groups: dict[str, list[int]] = {}
    for index, prompt in prompts.items():
        groups.setdefault(prompt.prefix, []).append(index)
    wave: list[list[int]] = []
    size = 0
    for group in groups.values():
        for start in range(0, len(group), PROMPTS_PER_WAVE):
            part = group[start : start + PROMPTS_PER_WAVE]
            if wave and (len(wave) == GROUPS_PER_WAVE or size + len(part) > PROMPTS_PER_WAVE):
                yield wave
                wave, size = [], 0
            wave.append(part)
            size += len(part)
    if wave:
        yield wave


def shared_length(rows: Sequence[np.ndarray]) -> int:
    """The length of the rows' common prefix, which leaves at least one token in each row; 0 if it is too short to use.

    Args:
        rows: the token ids of each row.

    Returns:
        The number of shared tokens.
    """
    if len(rows) < 2:
        return 0
    shortest = min(len(row) for row in rows) - 1
    heads = np.stack([row[:shortest] for row in rows])
    differ = np.flatnonzero((heads != heads[0]).any(axis=0))
    shared = int(differ[0]) if len(differ) else shortest
    return shared if shared >= MIN_SHARED_TOKENS else 0


def batches(lengths: Sequence[int], tokens: int, rows: int | None = None) -> list[list[int]]:
    """Split rows into batches of similar length.

    Args:
        lengths: the number of tokens in each row.
        tokens: the maximum number of tokens in a batch. A longer row gets a batch to itself.
        rows: the maximum number of rows in a batch, or None.

    Returns:
        The positions of the rows in `lengths`, batch by batch, shortest first. Rows of equal length keep their order.
    """
    made: list[list[int]] = []
    size = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not made or size + lengths[position] > tokens or len(made[-1]) == rows:
            made.append([])
            size = 0
        made[-1].append(position)
        size += lengths[position]
    return made


def run_or_halve(
    batch: list[int], run: Callable[[list[int]], T], out_of_memory: Callable[[Exception], bool]
) -> Iterator[T]:
    """Run a batch. If memory runs out, run its halves instead.

    Args:
        batch: the rows.
        run: runs some of the rows.
        out_of_memory: whether an error means that memory ran out; it may also free memory.

    Yields:
        The result of each part, in the order of the rows.

    Raises:
        Exception: memory ran out with a single row, or any other error.
    """
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        try:
            result = run(part)
        except Exception as error:
            if not out_of_memory(error) or len(part) == 1:
                raise
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]  # the first half is run next
        else:
            yield result
