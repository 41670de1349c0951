"""Filters that take the place of the paper's human check. Each reports what it dropped and why.

`limrank_ir.synth.pipeline` applies them as early as it can, so that nothing is paid for records that will be dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Sifted(Generic[T]):
    """The result of a filter.

    Attributes:
        kept: the remaining records, in their order.
        dropped: reason to number of records.
    """

    kept: list[T]
    dropped: dict[str, int]


def sift(records: Iterable[T], reason: Callable[[T], str | None]) -> Sifted[T]:
    """Filter records one by one.

    Args:
        records: the records.
        reason: says why to drop a record; None: keep it.
    """
    kept: list[T] = []
    dropped: Counter[str] = Counter()
    for record in records:
        why = reason(record)
        if why is None:
            kept.append(record)
        else:
            dropped[why] += 1
    return Sifted(kept, dict(dropped))
