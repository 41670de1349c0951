"""The mixture that a run trains on: what is taken of each source, drawn the same way every time."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.formats.trec import read_topics

from .config import Data, DataSource
from .rows import Group, read_groups

# Licenses that do not let a trained model be passed on: what is not stated is not allowed either.
_CLOSED = re.compile(
    r"(?<![a-z])nc(?![a-z])|no[nt]?(?: for)?[-_ ]*commercial|research|proprietary|all rights reserved"
    r"|no[nt] (?:openly|stated)|none|unstated|unknown|\bn/?a\b",
    re.IGNORECASE,
)


def mix(data: Data, seed: int) -> list[Group]:
    """Draw the groups of a run.

    Args:
        data: the mixture.
        seed: of all that is drawn.

    Returns:
        Groups of one positive and some negatives, shuffled.

    Raises:
        InputError: a source cannot be read, is too small, or has rows without an open license.
    """
    held_back = held_back_queries(data)
    groups = [group for source in data.sources for group in _drawn(source, data, held_back, seed)]
    random.Random(seed).shuffle(groups)
    return groups


def held_back_queries(data: Data) -> set[str]:
    """The queries of `Data.exclude_topics`, as `normal` writes them."""
    return {normal(topic.query) for path in data.exclude_topics for topic in read_topics(path).values()}


def normal(text: str) -> str:
    """A text's words in lower case, so that copies of a query are found."""
    return " ".join(re.findall(r"\w+", text.lower()))


def check_license(license: str | None, where: str) -> None:
    """Refuse what is not openly licensed.

    Args:
        license: what a row says of it.
        where: the row, for the error message.

    Raises:
        InputError: the license is missing, not stated, or not open.
    """
    if license is None or _CLOSED.search(license):
        raise InputError(
            f"{where} is not openly licensed ({license or 'not stated'}); "
            "leave this source out, or set data.open_licenses_only: false for experiments"
        )


def generator(source: DataSource, data: Data, seed: int) -> random.Random:
    """A generator of its own for each source: adding one does not change what is drawn from another."""
    return random.Random(f"{seed} {Path(os.path.relpath(source.path, data.folder)).as_posix()}")


def wanted(source: DataSource, data: Data, has: int) -> int:
    """How many of a source's queries are taken.

    Args:
        source: the source.
        data: the mixture.
        has: how many it has.

    Raises:
        InputError: it is too small, or nothing is left of it.
    """
    if has < (source.queries or 1):
        raise InputError(
            f"{source.path}: {source.queries or 1} queries are asked for, but it has {has} (without those of "
            "data.exclude_topics); ask for fewer"
        )
    return math.ceil((source.queries or has) * data.share)


def data_hash(groups: Iterable[Group]) -> str:
    """SHA-256 over all that is learned from a mixture, in order."""
    digest = hashlib.sha256()
    for group in groups:
        candidates = [(c.text, c.label, c.grade, c.reasoning, c.teacher) for c in group.candidates]
        digest.update(json.dumps([group.query, group.instruction, candidates]).encode())
    return digest.hexdigest()


def _drawn(source: DataSource, data: Data, held_back: set[str], seed: int) -> list[Group]:
    chance = generator(source, data, seed)
    groups = [group for group in read_groups(source.path) if normal(group.query) not in held_back]
    if data.open_licenses_only:
        for group in groups:
            check_license(group.license, f"{source.path}: the row {group.qid!r}")
    if source.negatives == 0:  # nothing would be left of a group without positives
        groups = [group for group in groups if group.candidates[0].label]
    chance.shuffle(groups)
    taken = groups[: wanted(source, data, len(groups))]
    return [made for group in taken for made in _narrowed(group, source, chance)]


def _narrowed(group: Group, source: DataSource, chance: random.Random) -> list[Group]:
    """Groups of one positive and at most `negatives` negatives; a group without positives stays one group."""
    positives = [candidate for candidate in group.candidates if candidate.label]
    negatives = [candidate for candidate in group.candidates if not candidate.label]
    chance.shuffle(positives)
    instruction = group.instruction if chance.random() < source.keep_instruction else None
    if source.reasoning == "all" and positives:
        negatives = [replace(candidate, reasoning=positives[0].reasoning) for candidate in negatives]
    made = []
    for number in range(max(1, min(len(positives), source.groups_per_query))):
        chance.shuffle(negatives)
        candidates = tuple(
            replace(candidate, text=_first_words(candidate.text, source.passage_words))
            for candidate in (*positives[number : number + 1], *negatives[: source.negatives])
        )
        query = _first_words(group.query, source.query_words)
        made.append(replace(group, query=query, instruction=instruction, candidates=candidates))
    return made


def _first_words(text: str, count: int | None) -> str:
    if count is None:
        return text
    match = re.match(rf"\s*(?:\S+\s+){{0,{count - 1}}}\S+", text)
    return match[0] if match else text
