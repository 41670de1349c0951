"""What one run has asked, so that nothing is asked twice in it."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

ANSWERS = 20_000  # of which one with a long thought takes 10 KB
NAMES = 1_000_000


class Remembered(Generic[T]):
    """Answers by name. When there are too many, the oldest are forgotten, and would be asked again."""

    def __init__(self, most: int) -> None:
        """Start with none.

        Args:
            most: how many to keep.
        """
        self._most = most
        self._known: dict[bytes, T] = {}

    def __contains__(self, name: bytes) -> bool:
        return name in self._known

    def __getitem__(self, name: bytes) -> T:
        return self._known[name]

    def __setitem__(self, name: bytes, answer: T) -> None:
        self._known[name] = answer
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
