"""A synthesis in figures: quotas, lengths, labels, losses, cost, leaks, and the audit."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from limrank_ir.llm.answers import usage
from limrank_ir.llm.journal import Journal

from .audit import Audit
from .config import SynthConfig
from .filters.leaks import label_leak
from .guidelines import Guidelines, read_guidelines
from .pipeline import Synthesis
from .prices import Prices
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
class Cost:
    """What a model cost. Dollars are None if it has no price."""

    model: str
    answers: int
    prompt_tokens: int
    response_tokens: int
    dollars: float | None


@dataclass(frozen=True)
class SynthReport:
    """All figures.

    Attributes:
        queries: the number of queries.
        pairs: the number of pairs.
        relevant: the number of relevant pairs.
        domains: the domains of daily-life and of expert queries, by kind.
        difficulties: the difficulties of all queries.
        passages: (kind, number written, number kept).
        lengths: of queries, passages, and traces.
        losses: (step, reason, records dropped).
        counts: step to records left.
        costs: by model.
        leak: the area under the ROC curve of a classifier that sees a passage only; None: too few pairs.
        audit: the human audit, or None.
    """

    queries: int
    pairs: int
    relevant: int
    domains: Mapping[str, Sequence[Share]]
    difficulties: Sequence[Share]
    passages: Sequence[tuple[str, int, int]]
    lengths: Sequence[Lengths]
    losses: Sequence[tuple[str, str, int]]
    counts: Mapping[str, int]
    costs: Sequence[Cost]
    leak: float | None
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
    written = Counter(passage.kind for passage in result.passages)
    kept = Counter(pair.passage.kind for pair in pairs)
    return SynthReport(
        queries=len(queries),
        pairs=len(pairs),
        relevant=sum(pair.label for pair in pairs),
        domains={
            kind: _shares(
                (query.domain for query in queries if query.kind == kind),
                {each.name: each.share for each in guidelines.domains if getattr(each, kind)},
            )
            for kind in ("daily", "expert")
        },
        difficulties=_shares(
            (query.difficulty for query in queries), {each.name: each.share for each in guidelines.difficulties}
        ),
        passages=[(kind, written[kind], kept[kind]) for kind in _kinds(guidelines)],
        lengths=_lengths(pairs),
        losses=result.losses,
        counts=result.counts,
        costs=_costs(journal, prices),
        leak=label_leak(pairs, seed=config.seed),
        audit=audit,
    )


def _kinds(guidelines: Guidelines) -> list[str]:
    return ["positive", *(each.name for each in guidelines.negatives)]


def _shares(names: Iterable[str], wanted: Mapping[str, float]) -> list[Share]:
    counts = Counter(names)
    found, asked = max(1, sum(counts.values())), sum(wanted.values())
    return [Share(name, counts[name], counts[name] / found, share / asked) for name, share in wanted.items()]


def _lengths(pairs: Sequence[JudgedPair]) -> list[Lengths]:
    texts = {
        "daily-life queries": {pair.query.text for pair in pairs if pair.query.kind == "daily"},
        "expert queries": {pair.query.text for pair in pairs if pair.query.kind == "expert"},
        "relevant passages": [pair.passage.text for pair in pairs if pair.label],
        "other passages": [pair.passage.text for pair in pairs if not pair.label],
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


def _costs(journal: Journal, prices: Prices) -> list[Cost]:
    answers: dict[str, list[Mapping[str, object]]] = {}
    for body, answer in journal:
        answers.setdefault(body["model"], []).append(answer)
    found = []
    for model, listed in sorted(answers.items()):
        tokens = [usage(answer) for answer in listed]
        money = [prices.cost(model, answer) for answer in listed]
        found.append(
            Cost(
                model,
                len(listed),
                sum(each.prompt for each in tokens),
                sum(each.response for each in tokens),
                None if None in money else sum(each or 0 for each in money),
            )
        )
    return found
