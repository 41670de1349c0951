"""The first stage: draw seeds and personas, and assign domains and difficulties by the guidelines' quotas."""

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
    levels = [
        _shuffled(allot(couples, [(each.name, each.share) for each in guidelines.difficulties]), draw) for _ in range(2)
    ]
    chosen = draw.sample(list(seeds), couples)
    kinds = [each.name for each in guidelines.negatives]
    types = [each.name for each in guidelines.documents]
    return [
        Couple(
            id=f"c{number:05d}",
            seed=chosen[number],
            persona=persona,
            daily=Brief(domain=daily[number], difficulty=levels[0][number]),
            expert=Brief(domain=domain, difficulty=levels[1][number]),
            negatives=(_spread(kinds, negatives, draw), _spread(kinds, negatives, draw)),
            documents=(_spread(types, negatives + 1, draw), _spread(types, negatives + 1, draw)),
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


def _spread(names: Sequence[str], count: int, draw: random.Random) -> tuple[str, ...]:
    """Draw `count` names, repeating one only after all others."""
    return tuple(islice(cycle(draw.sample(list(names), len(names))), count))
