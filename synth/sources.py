"""Read seeds and personas."""

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
        path: JSONL with ``query`` and optionally ``id`` or ``qid``; or ``id<TAB>query``; or one query per line. Plain
            or ``.gz``.

    Returns:
        The seeds. Those without an id are numbered.

    Raises:
        InputError: an empty line, a query without text, or a duplicate; the message says where.
    """
    return [Seed(id=name, query=text) for name, text, _ in _texts(path, ("query", "text"), "query")]


def read_personas(path: Path, guidelines: Guidelines) -> list[Persona]:
    """Read personas.

    Args:
        path: JSONL with ``persona`` or ``text``, and optionally ``id`` and ``domain``; or ``id<TAB>persona``; or one
            persona per line. Plain or ``.gz``.
        guidelines: the known domains.

    Returns:
        The personas. Those without an id are numbered.

    Raises:
        InputError: an empty line, a persona without text, a duplicate, or unknown domains (all are named); the message
            says where.
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
        listed = "; ".join(f"{place}: unknown domain {domain!r}" for domain, place in unknown.items())
        raise InputError(f"{listed}; choose from: {', '.join(sorted(known))}")
    return found


def _texts(
    path: Path, keys: tuple[str, ...], what: str
) -> Iterator[tuple[str, str, tuple[str, dict[str, Any] | None]]]:
    """Yield (id, text, (place, record)) for each line."""
    seen: dict[str, str] = {}
    ids: dict[str, str] = {}
    empty = True
    for number, line in lines(path):
        place, empty = f"{path}:{number}", False
        if not line.strip():
            raise InputError(f"{place}: empty line; remove it")
        record = None
        if line.lstrip().startswith("{"):
            record = json_object(place, line)
            text, name = json_text(place, record, keys), json_text(place, record, ("id", "qid"))
        else:
            name, tab, text = line.rpartition("\t")
            name = name if tab else None
        name = name or f"{what}{number}"
        if not text or not text.strip():
            raise InputError(f"{place}: {what} without text; fill in {keys[0]!r}")
        text = " ".join(text.split())
        for value, listed, kind in ((" ".join(words(text)), seen, what), (name, ids, "id")):
            if value in listed:
                raise InputError(f"{place}: same {kind} as in {listed[value]}; remove one of them")
            listed[value] = place
        yield name, text, (place, record)
    if empty:
        raise InputError(f"{path}: the file is empty; check how it was made")
