"""(query, passage) pairs from callers, in any kind of collection, checked so that no wrong text is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeAlias

from limrank_ir.errors import InputError

Pair: TypeAlias = Sequence[str | None]
"""(query, passage) or (query, passage, instruction); an instruction may be None."""

_PAIR = "(query, passage) or (query, passage, instruction)"


CheckedPair: TypeAlias = tuple[str, str, str | None]
"""(query, passage, instruction)."""

CHUNK = 65_536  # pairs of which a long run has the texts in memory; their verdicts come before the next ones are read


def chunks(pairs: Iterable[CheckedPair], size: int = CHUNK) -> Iterator[list[CheckedPair]]:
    """Split pairs into chunks that keep neighboring pairs of one query together.

    Args:
        pairs: the pairs.
        size: the number of pairs after which a chunk ends with the pairs of its last query, or at twice that number.

    Yields:
        The chunks.
    """
    chunk: list[CheckedPair] = []
    for pair in pairs:
        if len(chunk) >= 2 * size or (len(chunk) >= size and pair[0] != chunk[-1][0]):
            yield chunk
            chunk = []
        chunk.append(pair)
    if chunk:
        yield chunk


def as_list(what: str, values: Any, wanted: str = "a list") -> list[Any]:
    """Make a list of a collection: a list, an array, a column of a data frame, a generator.

    See `as_iterable`.
    """
    return list(as_iterable(what, values, wanted))


def as_iterable(what: str, values: Any, wanted: str = "a list") -> Iterable[Any]:
    """Check that values are a collection: a list, an array, a column of a data frame, a generator.

    Args:
        what: what the values are, for the error message.
        values: the collection.
        wanted: what to give instead, for the error message.

    Returns:
        The same collection.

    Raises:
        InputError: it is not a collection, or it is a string (a list of letters), a dictionary (of keys), or a set
            (without an order).
    """
    if isinstance(values, (str, bytes, Mapping, Set)) or not isinstance(values, Iterable):
        raise InputError(f"{what}: {_kind(values)}; give {wanted}")
    return values


def is_pair(value: Any) -> bool:
    """Whether a value is one pair of texts rather than a list of pairs."""
    return isinstance(value, (tuple, list)) and len(value) in (2, 3) and all(isinstance(part, str) for part in value)


def checked_pair(place: int | str, pair: Any) -> CheckedPair:
    """Check a pair.

    Args:
        place: its position, or where it is in words, for the error message.
        pair: the pair from the caller.

    Returns:
        (query, passage, instruction); the instruction may be None.

    Raises:
        InputError: it is not a pair of texts, or the query is empty.
    """
    where = place if isinstance(place, str) else f"pair {place}"
    parts = pair if isinstance(pair, tuple) else as_list(where, pair, _PAIR)
    if len(parts) not in (2, 3):
        raise InputError(f"{where}: {len(parts)} parts; give {_PAIR}")
    query, passage, instruction = parts if len(parts) == 3 else (*parts, None)
    for name, text in (("query", query), ("passage", passage), ("instruction", instruction)):
        if text is None and name == "instruction":
            continue
        if not isinstance(text, str):
            raise InputError(f"{where}: the {name} is {_kind(text)}, not text; fix or remove it first")
    if not query.strip():
        raise InputError(f"{where}: the query is empty; fix or remove it first")
    return query, passage, instruction


def _kind(value: Any) -> str:
    """The kind of a value, for an error message."""
    if isinstance(value, str):
        return f"one text ({value[:30]!r})"
    return "None" if value is None else f"of type {type(value).__name__}"
