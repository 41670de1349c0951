"""The first stage: draw seeds and personas, and write a brief for each query by the guidelines' quotas."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice

from limrank_ir.errors import InputError

from .guidelines import Guidelines, allot
from .records import Brief, Couple, Persona, Seed


def sample(
    seeds: Sequence[Seed],
    personas: Sequence[Persona],
    guidelines: Guidelines,
    *,
    couples: int,
    negatives: int,
    seed: int,
) -> list[Couple]:
    """Draw couples of a seed and a persona.

    Each couple leads to a daily-life and an expert query. No seed or persona is drawn twice. Every expert query is in a
    domain of its persona.

    Args:
        seeds: distinct queries.
        personas: distinct people.
        guidelines: the quotas.
        couples: how many to draw.
        negatives: the number of negatives per query.
        seed: the random seed. The same arguments draw the same couples.

    Returns:
        The couples.

    Raises:
        InputError: there are too few seeds, or too few personas in some domains; all such domains are named.
    """
    if len(seeds) < couples:
        raise InputError(f"couples: {couples}, but there are only {len(seeds)} seeds; add seeds or lower couples")
    draw = random.Random(seed)
    experts = _experts(personas, guidelines, couples, draw)
    daily = _shuffled(allot(couples, [(each.name, each.share) for each in guidelines.domains if each.daily]), draw)
    chosen = draw.sample(list(seeds), couples)
    levels, forms = (
        [_shuffled(allot(couples, [(each.name, each.share) for each in listed]), draw) for _ in range(2)]
        for listed in (guidelines.difficulties, guidelines.forms)
    )
    kinds = _dealt([(each.name, each.share) for each in guidelines.negatives], 2 * couples, negatives, draw)

    def brief(number: int, which: int, domain: str) -> Brief:
        # Borrowed passages come last, as they are not planned.
        listed = sorted(kinds[2 * number + which], key=lambda kind: guidelines.made(kind) == "borrowed")
        types = _spread([each.name for each in guidelines.documents], negatives + 1, draw)
        edited = [guidelines.made(kind) == "edited" for kind in listed]
        return Brief(
            domain=domain,
            difficulty=levels[which][number],
            form=forms[which][number],
            negatives=tuple(listed),
            # A passage that differs from the positive in one fact is from the same type of document.
            documents=(types[0], *(types[0] if same else name for same, name in zip(edited, types[1:], strict=True))),
        )

    return [
        Couple(
            id=f"c{number:05d}",
            seed=chosen[number],
            persona=persona,
            daily=brief(number, 0, daily[number]),
            expert=brief(number, 1, domain),
        )
        for number, (domain, persona) in enumerate(experts)
    ]


def _experts(
    personas: Sequence[Persona], guidelines: Guidelines, couples: int, draw: random.Random
) -> list[tuple[str, Persona]]:
    """(domain, persona) for each couple. This takes a matching, as many personas suit several domains."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import maximum_bipartite_matching  # type: ignore[import-untyped]

    wanted = allot(couples, [(each.name, each.share) for each in guidelines.domains if each.expert])
    suited: dict[str, list[int]] = {domain: [] for domain in wanted}
    people = draw.sample(list(personas), len(personas))
    for number, persona in enumerate(people):
        for domain in guidelines.fields(persona):
            if len(suited.setdefault(domain, [])) < couples:  # enough, whatever the other domains take
                suited[domain].append(number)
    slots = _shuffled(wanted, draw)
    rows = [slot for slot, domain in enumerate(slots) for _ in suited[domain]]
    columns = [number for domain in slots for number in suited[domain]]
    matrix = csr_matrix(([True] * len(rows), (rows, columns)), shape=(len(slots), max(1, len(people))))
    found = maximum_bipartite_matching(matrix, perm_type="column").tolist()
    if lacking := Counter(domain for domain, number in zip(slots, found, strict=True) if number < 0):
        counts = ", ".join(
            f"{domain} ({count} of {wanted[domain]} missing)" for domain, count in sorted(lacking.items())
        )
        raise InputError(
            f"too few personas in {len(lacking)} domains: {counts}; add personas, set their domain, or lower the "
            "domain's share in the guidelines"
        )
    return [(domain, people[number]) for domain, number in zip(slots, found, strict=True)]


def _shuffled(parts: dict[str, int], draw: random.Random) -> list[str]:
    names = [name for name, count in parts.items() for _ in range(count)]
    draw.shuffle(names)
    return names


def _dealt(shares: Sequence[tuple[str, float]], hands: int, size: int, draw: random.Random) -> list[list[str]]:
    """Deal `size` names to each hand. The shares are met exactly, and a hand has a name twice only if it must."""
    parts = allot(hands * size, draw.sample(list(shares), len(shares)))
    deck = [name for name, count in parts.items() for _ in range(count)]
    dealt = [draw.sample(deck[start::hands], size) for start in range(hands)]
    draw.shuffle(dealt)
    return dealt


def _spread(names: Sequence[str], count: int, draw: random.Random) -> tuple[str, ...]:
    """Draw `count` names, repeating one only after all others."""
    return tuple(islice(cycle(draw.sample(list(names), len(names))), count))
