"""(query, passage) pairs as callers give them: any collection of them, checked so that no other text is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias

from limrank_ir.errors import InputError

Pair: TypeAlias = Sequence[str | None]
"""(query, passage) or (query, passage, instruction); an instruction may be None."""

_PAIR = "(query, passage) or (query, passage, instruction)"


def several(what: str, given: Any, wanted: str = "a list") -> list[Any]:
    """Several things, as they come: a list, an array, a column of a frame, a generator.

    Args:
        what: what they are, for the error message.
        given: what a caller gave.
        wanted: what to give instead, for the error message.

    Returns:
        A list of them.

    Raises:
        InputError: it is one text, a dictionary or a set, of which only letters, keys or no order would be read, or not
            a collection at all.
    """
    if isinstance(given, (str, bytes, Mapping, Set)) or not isinstance(given, Iterable):
        raise InputError(f"{what}: {_kind(given)}; give {wanted}")
    return list(given)


def is_pair(value: Any) -> bool:
    """Whether a value is one pair of texts rather than a list of pairs."""
    return isinstance(value, (tuple, list)) and len(value) in (2, 3) and all(isinstance(part, str) for part in value)


def checked_pair(number: int, pair: Any) -> tuple[str, str, str | None]:
    """One pair.

    Args:
        number: its place, for the error message.
        pair: what a caller gave.

    Returns:
        (query, passage, instruction); the instruction may be None.

    Raises:
        InputError: it is no pair of texts, or the query is empty.
    """
    parts = pair if isinstance(pair, tuple) else several(f"pair {number}", pair, _PAIR)
    if len(parts) not in (2, 3):
        raise InputError(f"pair {number}: {len(parts)} parts; give {_PAIR}")
    query, passage, instruction = parts if len(parts) == 3 else (*parts, None)
    for name, text in (("query", query), ("passage", passage), ("instruction", instruction)):
        if not isinstance(text, str) and (name != "instruction" or text is not None):
            raise InputError(f"pair {number}: the {name} is {_kind(text)}, not text; fill or drop it first")
    if not query.strip():
        raise InputError(f"pair {number}: the query is empty; fill or drop it first")
    return query, passage, instruction


def _kind(value: Any) -> str:
    """What a value is, for an error message."""
    if isinstance(value, str):
        return f"one text ({value[:30]!r})"
    return "None" if value is None else f"of type {type(value).__name__}"
