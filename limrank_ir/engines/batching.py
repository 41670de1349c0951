"""How prompts are grouped into waves and batches: the same every time for the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from limrank_ir.prompts import Prompt

T = TypeVar("T")

GROUPS_PER_WAVE = 32
PROMPTS_PER_WAVE = 2048
LEAST_SHARED = 8  # a shorter common beginning is not worth a run of its own


def waves(prompts: Mapping[int, Prompt]) -> Iterator[list[list[int]]]:
    """Group prompts by query and hand them out in portions, so that neither text nor tokens pile up in memory.

    Args:
        prompts: the prompts by index.

    Yields:
        Waves; a wave is a list of groups, a group the indices of prompts with one prefix. Queries come in the
        order of their first prompt.
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
    """How many first tokens all rows share, leaving each row at least one token; 0 if it is too few to matter."""
    if len(rows) < 2:
        return 0
    shortest = min(len(row) for row in rows) - 1
    heads = np.stack([row[:shortest] for row in rows])
    differ = np.flatnonzero((heads != heads[0]).any(axis=0))
    shared = int(differ[0]) if len(differ) else shortest
    return shared if shared >= LEAST_SHARED else 0


def batches(lengths: Sequence[int], tokens: int, rows: int | None = None) -> list[list[int]]:
    """Split rows into batches of neighbors in length.

    Args:
        lengths: tokens of each row.
        tokens: the most tokens in a batch; a longer row makes a batch alone.
        rows: the most rows in a batch, or None.

    Returns:
        Positions of the rows in `lengths`, batch by batch, shortest first. Equal lengths keep their order.
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


def halving(
    batch: list[int], run: Callable[[list[int]], T], out_of_memory: Callable[[Exception], bool]
) -> Iterator[tuple[list[int], T]]:
    """Run a batch; where memory runs out, run its halves instead.

    Args:
        batch: the rows.
        run: runs some of them.
        out_of_memory: tells whether an error means that memory ran out (and frees what it can).

    Yields:
        (rows, result) of each part that ran.

    Raises:
        Exception: any other error, and running out of memory with a single row.
    """
    try:
        result = run(batch)
    except Exception as error:
        if not out_of_memory(error) or len(batch) == 1:
            raise
    else:
        yield batch, result
        return
    middle = len(batch) // 2
    for half in (batch[:middle], batch[middle:]):
        yield from halving(half, run, out_of_memory)
