"""A synthesis in figures: quotas, lengths, labels, hardness, losses, cost, leaks, and the audit."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from limrank_ir.llm.journal import Journal

from .audit import Audit
from .config import SynthConfig
from .filters.hardness import above
from .filters.leaks import Leak, passage_leak
from .guidelines import Guidelines, read_guidelines
from .pipeline import Synthesis
from .prices import Cost, Prices, costs
from .records import JudgedPair


@dataclass(frozen=True)
class Share:
    """How many queries have something: the count, its share, and the share that the guidelines ask for."""

    name: str
    count: int
    share: float
    wanted: float


@dataclass(frozen=True)
class Lengths:
    """Lengths in words of a kind of text: the number of texts, and the 5th, 50th, and 95th percentiles."""

    name: str
    count: int
    short: int
    median: int
    long: int


@dataclass(frozen=True)
class KindCount:
    """A kind of passage.

    Attributes:
        name: the kind.
        written: how many were written, or borrowed.
        kept: how many passed the filters.
        above: retriever to the share of those kept that it ranks above their query's positive.
    """

    name: str
    written: int
    kept: int
    above: Mapping[str, float]


@dataclass(frozen=True)
class SynthReport:
    """All figures.

    Attributes:
        queries: the number of queries.
        pairs: the number of pairs.
        relevant: the number of relevant pairs.
        domains: the domains of daily-life and of expert queries, by kind.
        difficulties: the difficulties of all queries.
        forms: the forms of all queries.
        passages: by kind.
        above: retriever to the share of all negatives that it ranks above their query's positive.
        lengths: of queries, passages, and traces.
        losses: (step, reason, records dropped).
        counts: step to records left.
        costs: by model.
        content_leak: how well planned contents alone give their labels away; None: too few to tell.
        leak: how well passages alone do; None: too few to tell.
        audit: the human audit, or None.
    """

    queries: int
    pairs: int
    relevant: int
    domains: Mapping[str, Sequence[Share]]
    difficulties: Sequence[Share]
    forms: Sequence[Share]
    passages: Sequence[KindCount]
    above: Mapping[str, float]
    lengths: Sequence[Lengths]
    losses: Sequence[tuple[str, str, int]]
    counts: Mapping[str, int]
    costs: Sequence[Cost]
    content_leak: Leak | None
    leak: Leak | None
    audit: Audit | None


def report(
    result: Synthesis, config: SynthConfig, journal: Journal, prices: Prices, audit: Audit | None = None
) -> SynthReport:
    """Gather the figures.

    Args:
        result: a complete synthesis.
        config: its configuration.
        journal: its answers.
        prices: what tokens cost.
        audit: the human audit, if there is one.
    """
    pairs = result.pairs
    queries = list({pair.query.id: pair.query for pair in pairs}.values())
    guidelines = read_guidelines(config.guidelines)
    counted = {name: above(pairs, ranks) for name, ranks in result.ranks.items()}
    return SynthReport(
        queries=len(queries),
        pairs=len(pairs),
        relevant=sum(pair.label for pair in pairs),
        domains={
            kind: _shares(
                (query.brief.domain for query in queries if query.kind == kind),
                {each.name: each.share for each in guidelines.domains if getattr(each, kind)},
            )
            for kind in ("daily", "expert")
        },
        difficulties=_shares(
            (query.brief.difficulty for query in queries), {each.name: each.share for each in guidelines.difficulties}
        ),
        forms=_shares((query.brief.form for query in queries), {each.name: each.share for each in guidelines.forms}),
        passages=_passages(result, guidelines, counted),
        above={name: _share(kinds.values()) for name, kinds in counted.items()},
        lengths=_lengths(pairs, guidelines),
        losses=result.losses,
        counts=result.counts,
        costs=costs(journal, prices),
        content_leak=result.leak,
        leak=passage_leak(pairs, seed=config.seed),
        audit=audit,
    )


def _passages(
    result: Synthesis, guidelines: Guidelines, above: Mapping[str, Mapping[str, tuple[int, int]]]
) -> list[KindCount]:
    written = Counter(passage.kind for passage in result.passages)
    kept = Counter(pair.passage.kind for pair in result.pairs)
    kinds = ["positive", *(each.name for each in guidelines.negatives)]
    return [
        KindCount(
            kind,
            written[kind],
            kept[kind],
            {name: _share([counts[kind]]) for name, counts in above.items() if kind in counts},
        )
        for kind in kinds
    ]


def _share(counts: Iterable[tuple[int, int]]) -> float:
    listed = list(counts)
    return sum(part for part, _ in listed) / max(1, sum(total for _, total in listed))


def _shares(names: Iterable[str], wanted: Mapping[str, float]) -> list[Share]:
    counts = Counter(names)
    found, asked = max(1, sum(counts.values())), sum(wanted.values())
    return [Share(name, counts[name], counts[name] / found, share / asked) for name, share in wanted.items()]


def _lengths(pairs: Sequence[JudgedPair], guidelines: Guidelines) -> list[Lengths]:
    queries = {pair.query.id: pair.query for pair in pairs}.values()
    texts = {
        **{
            f"queries: {form.name}": [query.text for query in queries if query.brief.form == form.name]
            for form in guidelines.forms
        },
        "relevant passages": [pair.passage.text for pair in pairs if pair.label],
        "other passages": [pair.passage.text for pair in pairs if not pair.label],
        **{
            f"traces: {level.name}": [
                pair.judgments[0].reasoning for pair in pairs if pair.query.brief.difficulty == level.name
            ]
            for level in guidelines.difficulties
        },
        "traces that end in true": [pair.judgments[0].reasoning for pair in pairs if pair.label],
        "traces that end in false": [pair.judgments[0].reasoning for pair in pairs if not pair.label],
    }
    found = []
    for name, listed in texts.items():
        words = sorted(len(text.split()) for text in listed)
        if words:
            cuts = statistics.quantiles(words, n=20, method="inclusive") if len(words) > 1 else [words[0]] * 19
            found.append(Lengths(name, len(words), round(cuts[0]), round(cuts[9]), round(cuts[18])))
    return found
