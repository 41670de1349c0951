"""What a synthesis came to, in figures: quotas met, lengths, labels, losses, cost, leaks, and what people said."""

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
    """How often something is among the queries: counted, its share, and the share that the guidelines ask for."""

    name: str
    count: int
    share: float
    wanted: float


@dataclass(frozen=True)
class Lengths:
    """Words of a kind of text: how many texts, and 5%, 50% and 95% of them are this long at most."""

    name: str
    count: int
    short: int
    median: int
    long: int


@dataclass(frozen=True)
class Cost:
    """What a model was asked and what it took; dollars are None where it has no price."""

    model: str
    answers: int
    prompt_tokens: int
    response_tokens: int
    dollars: float | None


@dataclass(frozen=True)
class SynthReport:
    """All figures.

    Attributes:
        queries: how many there are.
        pairs: how many there are.
        relevant: how many of the pairs.
        domains: of daily-life queries and of expert queries, by kind.
        difficulties: of all queries.
        passages: kinds of passages: how many there were made, how many stayed.
        lengths: of queries, passages and traces.
        losses: (step, reason, records dropped).
        counts: step to records left.
        costs: by model.
        leak: area under the ROC curve of a classifier that sees a passage alone; None: too few pairs.
        audit: what people said, or None.
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
        result: a whole result.
        config: its synthesis.
        journal: its answers.
        prices: what tokens cost.
        audit: what people said, if they did.
    """
    pairs = result.pairs
    queries = list({pair.query.id: pair.query for pair in pairs}.values())
    guidelines = read_guidelines(config.guidelines)
    made = Counter(passage.kind for passage in result.passages)
    stayed = Counter(pair.passage.kind for pair in pairs)
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
        passages=[(kind, made[kind], stayed[kind]) for kind in _kinds(guidelines)],
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
    total, whole = sum(wanted.values()), max(1, sum(counts.values()))
    return [Share(name, counts[name], counts[name] / whole, share / total) for name, share in wanted.items()]


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
