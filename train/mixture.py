"""The mixture that a run trains on: a sample of each source, drawn the same way every time."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from limrank_ir.errors import InputError

from .config import Data, DataSource
from .excluded import held_back_queries
from .held_out import held_out, near_copies
from .rows import Candidate, Group, normalized, read_groups

# Licenses under which a trained model could not be published; a license that is not stated counts as one.
_CLOSED = re.compile(
    r"(?<![a-z])nc(?![a-z])|no[nt]?(?: for)?[-_ ]*commercial|research|proprietary|all rights reserved"
    r"|no[nt] (?:openly|stated)|none|unstated|unknown|\bn/?a\b",
    re.IGNORECASE,
)


def mix(data: Data, seed: int) -> list[Group]:
    """Draw the groups of a run.

    Args:
        data: the mixture.
        seed: the run's seed.

    Returns:
        Groups of one positive and some negatives, or of one passage (`Data.layout` is ``"rows"``), shuffled.

    Raises:
        InputError: a source cannot be read, is too small, or has rows without an open license.
    """
    groups = [
        replace(group, source_number=number)
        for number, source in enumerate(data.sources)
        for group in _drawn(source, data, seed)
    ]
    random.Random(seed).shuffle(groups)
    return groups


def excluded(source: DataSource, data: Data) -> list[tuple[str, str]]:
    """The queries of a source that are not used because they contain a query of `Data.exclude_topics`.

    Args:
        source: the source.
        data: the mixture.

    Returns:
        (training query, benchmark's query) for each row.

    Raises:
        InputError: a file cannot be read.
    """
    held_back = held_back_queries(data.exclude_topics)
    found = ((group.query, held_back.find(group.query)) for group in read_groups(source.path))
    return [(query, theirs) for query, theirs in found if theirs is not None]


def near_held_out(source: DataSource, data: Data) -> list[tuple[str, str]]:
    """The queries of a source that are not used because they nearly equal one that it sets aside (`Data.held_out`).

    Args:
        source: the source.
        data: the mixture.

    Returns:
        (training query, the one that is set aside) for each row.

    Raises:
        InputError: the file cannot be read.
    """
    rows = read_groups(source.path)
    return near_copies(rows, held_out(rows, data.held_out))


def check_license(license: str | None, where: str) -> None:
    """Refuse a row that is not openly licensed.

    Args:
        license: the row's license, or None.
        where: the row, for the error message.

    Raises:
        InputError: the license is missing, not stated, or not open.
    """
    if license is None or _CLOSED.search(license):
        raise InputError(
            f"{where} is not openly licensed ({license or 'not stated'}); "
            "remove this source, or set data.open_licenses_only: false for experiments"
        )


def random_for(source: DataSource, data: Data, seed: int) -> random.Random:
    """The random generator of one source, so that adding a source does not change what is drawn from the others."""
    return random.Random(f"{seed} {Path(os.path.relpath(source.path, data.folder)).as_posix()}")


def sample_size(source: DataSource, data: Data, available: int) -> int:
    """How many of a source's queries to use.

    Args:
        source: the source.
        data: the mixture.
        available: how many queries it has.

    Raises:
        InputError: it has too few queries, or none.
    """
    if available < (source.queries or 1):
        raise InputError(
            f"{source.path}: {source.queries or 1} queries requested, but only {available} available (not counting "
            "those of data.exclude_topics and data.held_out); request fewer"
        )
    return math.ceil((source.queries or available) * data.share)


def data_hash(groups: Iterable[Group]) -> str:
    """SHA-256 of everything that a run learns from, in order."""
    digest = hashlib.sha256()
    for group in groups:
        candidates = [(c.text, c.label, c.grade, c.reasoning, c.teacher) for c in group.candidates]
        digest.update(json.dumps([group.query, group.instruction, candidates]).encode())
    return digest.hexdigest()


def chosen_rows(source: DataSource, data: Data, seed: int) -> tuple[list[Group], random.Random]:
    """Draw the queries of a source, with all their passages.

    Args:
        source: the source.
        data: the mixture.
        seed: the run's seed.

    Returns:
        The rows, and the source's random generator for what else is drawn.

    Raises:
        InputError: the file cannot be read, is too small, or has rows without an open license.
    """
    rng = random_for(source, data, seed)
    rows = read_groups(source.path)
    held_back, set_aside = held_back_queries(data.exclude_topics), held_out(rows, data.held_out)
    groups = [
        group for group in rows if normalized(group.query) not in set_aside and held_back.find(group.query) is None
    ]
    if data.open_licenses_only:
        for group in groups:
            check_license(group.license, f"{source.path}: the row {group.qid!r}")
    if source.negatives == 0:  # a group without positives would have no passages left
        groups = [group for group in groups if group.candidates[0].label]
    rng.shuffle(groups)
    near = {query for query, _ in near_copies(rows, set_aside)}
    groups = [group for group in groups if group.query not in near]  # after the shuffle, so that the others stay
    return groups[: sample_size(source, data, len(groups))], rng


def _drawn(source: DataSource, data: Data, seed: int) -> list[Group]:
    groups, rng = chosen_rows(source, data, seed)
    return [part for group in groups for part in _split(group, source, rng, each=data.layout == "rows")]


def _split(group: Group, source: DataSource, rng: random.Random, *, each: bool) -> list[Group]:
    """Groups of one positive and at most `negatives` negatives; without positives, one group of negatives.

    Or, if `each` is true, a group for each passage.
    """
    positives = [candidate for candidate in group.candidates if candidate.label]
    negatives = [candidate for candidate in group.candidates if not candidate.label]
    rng.shuffle(positives)
    instruction = group.instruction if rng.random() < source.keep_instruction else None
    if source.reasoning == "all" and positives:
        negatives = [replace(candidate, reasoning=positives[0].reasoning) for candidate in negatives]
    parts = [[candidate] for candidate in (*positives, *negatives)] if each else []
    for number in range(0 if each else max(1, min(len(positives), source.groups_per_query))):
        rng.shuffle(negatives)
        parts.append([*positives[number : number + 1], *negatives[: source.negatives]])
    query = first_words(group.query, source.query_words)
    return [replace(group, query=query, instruction=instruction, candidates=_shortened(part, source)) for part in parts]


def _shortened(candidates: Sequence[Candidate], source: DataSource) -> tuple[Candidate, ...]:
    return tuple(replace(each, text=first_words(each.text, source.passage_words)) for each in candidates)


def first_words(text: str, count: int | None) -> str:
    """The first `count` words of a text; None: all of it."""
    if count is None:
        return text
    match = re.match(rf"\s*(?:\S+\s+){{0,{count - 1}}}\S+", text)
    return match[0] if match else text
