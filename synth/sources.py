"""Seeds and personas from the user's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_object, json_text, lines

from .guidelines import Guidelines
from .records import Persona, Seed
from .words import words


def read_seeds(path: Path) -> list[Seed]:
    """Read seed queries.

    Args:
        path: JSONL with ``query`` and perhaps ``id`` or ``qid``; or ``id<TAB>query``; or a query a line; plain or
            ``.gz``.

    Returns:
        The seeds; without ids they are numbered.

    Raises:
        InputError: an empty line, a query without text, or one that is there twice; the message says where.
    """
    return [Seed(id=name, query=text) for name, text, _ in _texts(path, ("query", "text"), "query")]


def read_personas(path: Path, guidelines: Guidelines) -> list[Persona]:
    """Read personas.

    Args:
        path: JSONL with ``persona`` or ``text``, and perhaps ``id`` and ``domain``; or ``id<TAB>persona``; or a persona
            a line. Plain or ``.gz``.
        guidelines: which domains there are.

    Returns:
        The personas; without ids they are numbered.

    Raises:
        InputError: an empty line, a persona without text or one that is there twice, or domains that are in no
            guideline, all of which are named; the message says where.
    """
    known = {domain.name for domain in guidelines.domains if domain.expert}
    found = []
    unknown: dict[str, str] = {}
    for name, text, (place, record) in _texts(path, ("persona", "text"), "persona"):
        domain = None if record is None else json_text(place, record, ("domain",))
        if domain is not None and domain not in known:
            unknown.setdefault(domain, place)
        found.append(Persona(id=name, text=text, domain=domain))
    if unknown:
        listed = "; ".join(f"{place}: no guideline has the domain {domain!r}" for domain, place in unknown.items())
        raise InputError(f"{listed}; choose from: {', '.join(sorted(known))}")
    return found


def _texts(
    path: Path, keys: tuple[str, ...], what: str
) -> Iterator[tuple[str, str, tuple[str, dict[str, Any] | None]]]:
    """(id, text, (place, record)) of each line."""
    seen: dict[str, str] = {}
    ids: dict[str, str] = {}
    empty = True
    for number, line in lines(path):
        place, empty = f"{path}:{number}", False
        if not line.strip():
            raise InputError(f"{place}: an empty line; take it out")
        record = None
        if line.lstrip().startswith("{"):
            record = json_object(place, line)
            text, name = json_text(place, record, keys), json_text(place, record, ("id", "qid"))
        else:
            name, tab, text = line.rpartition("\t")
            name = name if tab else None
        name = name or f"{what}{number}"
        if not text or not text.strip():
            raise InputError(f"{place}: a {what} without text; write {keys[0]}")
        text = " ".join(text.split())
        for value, listed, kind in ((" ".join(words(text)), seen, what), (name, ids, "id")):
            if value in listed:
                raise InputError(f"{place}: the same {kind} as in {listed[value]}; take one of them out")
            listed[value] = place
        yield name, text, (place, record)
    if empty:
        raise InputError(f"{path}: holds nothing; check how it was made")
