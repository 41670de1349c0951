"""Filters in place of the paper's check by people: each takes records and tells what it dropped and why.

Their order is that of `limrank_ir.synth.pipeline`: what costs nothing comes before what costs money.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Sifted(Generic[T]):
    """What a filter leaves.

    Attributes:
        kept: the records that stay, in their order.
        dropped: reason to how many.
    """

    kept: list[T]
    dropped: dict[str, int]


def sift(records: Iterable[T], reason: Callable[[T], str | None]) -> Sifted[T]:
    """Drop records one by one.

    Args:
        records: the records.
        reason: why a record is dropped; None: it stays.
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
