"""A synthesis as one function of its configuration, files, and answers: stage by stage, with filters in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from limrank_ir.errors import InputError

from .ask import Ask, StageOutcome, each
from .audit import read_audit, read_marks
from .borrowing import borrow
from .config import SynthConfig
from .filters import Sifted
from .filters.agreement import agreed, both_kinds
from .filters.audited import unmarked
from .filters.decontaminate import read_benchmarks, uncontaminated
from .filters.duplicates import different, meaning_the_same
from .filters.hardness import DEPTH, Ranks, bm25, dense, hard, remembered
from .filters.leaks import Leak, content_leak, not_copied
from .filters.traces import sound
from .guidelines import Guidelines, read_guidelines
from .judging import judge
from .outlines import write_outline
from .passages import write_passage
from .queries import write_queries
from .records import Couple, JudgedPair, Outline, WrittenPassage, WrittenQuery
from .sample import sample
from .sources import read_personas, read_seeds
from .templates import Prompts, read_prompts

T = TypeVar("T")
DENSE = "dense.json"
STAGES = ("queries", "outlines", "passages", "judgments")
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""(stage, number of sources) to a context that yields a function to call when sources are done."""


@dataclass
class Synthesis:
    """What a run has made so far.

    Attributes:
        queries: the queries that passed the filters.
        outlines: their outlines.
        leak: how well the contents in the outlines give their labels away; None: too few to tell.
        passages: the passages that passed the filters, the borrowed ones at the end.
        pairs: the pairs that passed the filters; empty until every request is answered.
        audited: what an audit can be about: the pairs before ``filters.audit`` takes any out.
        ranks: retriever to its ranking of all passages; empty if the filter of hard negatives is off.
        losses: (step, reason, number of records dropped), in the order of the steps.
        counts: step to the number of records left.
        waiting: the stage that waits for answers; None: every request is answered.
    """

    queries: list[WrittenQuery] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)
    leak: Leak | None = None
    passages: list[WrittenPassage] = field(default_factory=list)
    pairs: list[JudgedPair] = field(default_factory=list)
    audited: list[JudgedPair] = field(default_factory=list)
    ranks: Mapping[str, Ranks] = field(default_factory=dict)
    losses: list[tuple[str, str, int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    waiting: str | None = None


async def synthesize(
    config: SynthConfig,
    ask: Ask,
    *,
    until: str | None = None,
    progress: Progress = lambda stage, count: nullcontext(lambda done: None),
) -> Synthesis:
    """Run all stages as far as the answers go.

    The same configuration, files, and answers give the same result. A stage begins when the previous one is done, as
    filters look at all of its records together.

    Args:
        config: the configuration.
        ask: gets answers: `Online` or `Offline`.
        until: the last stage to run, one of `STAGES`; None: all.
        progress: shows the progress of a stage.

    Returns:
        The synthesis. `Synthesis.waiting` says whether it is complete.

    Raises:
        InputError: a file is invalid, the quotas cannot be met, or the outlines give labels away.
    """
    guidelines, prompts, couples, benchmarks = prepare(config)
    result = Synthesis(counts={"couples": len(couples)})

    with progress("queries", len(couples)) as done:
        found = await each(couples, lambda couple: write_queries(couple, config, guidelines, prompts, ask), done)
    if _waits(result, "queries", found):
        return result
    queries = [query for pair in found.made for query in pair]
    queries = _sifted(result, "queries: decontamination", uncontaminated(queries, benchmarks))
    result.queries = _sifted(result, "queries: near-duplicates", _different_queries(queries, config))
    if until == "queries":
        return result

    with progress("outlines", len(result.queries)) as done:
        outlined = await each(
            result.queries, lambda query: write_outline(query, config, guidelines, prompts, ask), done
        )
    if _waits(result, "outlines", outlined):
        return result
    result.outlines = outlined.made
    result.leak = content_leak(result.outlines, seed=config.seed)
    if until == "outlines":
        return result
    _stop_at_leak(result.leak, config)

    places = [(outline, place) for outline in result.outlines for place in range(len(outline.passages))]
    with progress("passages", len(places)) as done:
        written = await each(places, lambda which: write_passage(*which, config, guidelines, prompts, ask), done)
    if _waits(result, "passages", written):
        return result
    result.passages = _sifted(
        result,
        "passages: near-duplicates",
        _different_passages(written.made, config),
    )
    result.passages += borrow(result.outlines, result.passages, guidelines)
    if until == "passages":
        return result

    by_id = {outline.query.id: outline for outline in result.outlines}
    with progress("judgments", len(result.passages)) as done:
        judged = await each(
            result.passages,
            lambda passage: judge(by_id[passage.query], passage, config, guidelines, prompts, ask),
            done,
        )
    if _waits(result, "judgments", judged):
        return result
    result.pairs = _filtered(result, config, judged.made)
    return result


class Prepared(NamedTuple):
    """What a synthesis needs before its first request: the contents of its files, and its couples."""

    guidelines: Guidelines
    prompts: Prompts
    couples: list[Couple]
    benchmarks: list[str]


def prepare(config: SynthConfig) -> Prepared:
    """Read the files of a synthesis and draw its couples. This finds everything that is wrong with files and quotas.

    Args:
        config: the configuration.

    Raises:
        InputError: a file is invalid, or the quotas cannot be met.
    """
    prompts = read_prompts(config.prompts)
    guidelines = read_guidelines(config.guidelines)
    seeds, personas = read_seeds(config.seeds), read_personas(config.personas, guidelines)
    benchmarks = read_benchmarks(config.filters.benchmarks)
    for path in config.filters.audit:
        read_marks(path)
    couples = sample(seeds, personas, guidelines, couples=config.couples, negatives=config.negatives, seed=config.seed)
    return Prepared(guidelines, prompts, couples, benchmarks)


def _filtered(result: Synthesis, config: SynthConfig, pairs: Sequence[JudgedPair]) -> list[JudgedPair]:
    """Apply the filters that follow the judgments."""
    filters = config.filters
    kept = _sifted(result, "pairs: agreement", agreed(pairs, relabel=filters.relabel))
    kept = _sifted(result, "pairs: traces", sound(kept))
    kept = _sifted(result, "pairs: leaks", not_copied(kept))
    if filters.hard is not None and kept:
        queries = {pair.query.id: pair.query.text for pair in kept}
        passages = {passage.id: passage.text for passage in result.passages}
        retrievers = {"BM25": bm25, "MiniLM": remembered(config.output / DENSE, dense)}
        result.ranks = {name: rank(queries, passages, DEPTH) for name, rank in retrievers.items()}
        kept = _sifted(result, "pairs: hard negatives", hard(kept, list(result.ranks.values()), within=filters.hard))
    result.audited = kept
    if filters.audit:
        kept = _sifted(result, "pairs: audit", unmarked(kept, [read_audit(path, kept) for path in filters.audit]))
    return _sifted(result, "pairs: both kinds", both_kinds(kept))


def _different_queries(queries: Sequence[WrittenQuery], config: SynthConfig) -> Sifted[WrittenQuery]:
    filters = config.filters
    texts = [query.text for query in queries]
    alike = meaning_the_same(texts, cosine=filters.paraphrase, remember=config.output / "alike-queries.json")
    return different(queries, lambda query: query.text, similarity=filters.duplicate, alike=alike)


def _different_passages(passages: Sequence[WrittenPassage], config: SynthConfig) -> Sifted[WrittenPassage]:
    """Duplicates are judged across queries: those of one query may differ on purpose in a single fact."""
    filters = config.filters
    texts = [passage.text for passage in passages]
    alike = meaning_the_same(texts, cosine=filters.paraphrase, remember=config.output / "alike-passages.json")
    return different(
        passages,
        lambda passage: passage.text,
        similarity=filters.duplicate,
        group=lambda passage: passage.query,
        alike=alike,
    )


def _stop_at_leak(leak: Leak | None, config: SynthConfig) -> None:
    limit = config.filters.leak
    if leak is not None and limit is not None and leak.above(limit):
        raise InputError(
            f"the outlines give labels away: AUC {leak.auc:.2f} (standard error {leak.error:.2f}), above filters.leak: "
            f"{limit:g}; look at them (limrank synth run --until outlines), and improve the prompts or raise the limit"
        )


def _waits(result: Synthesis, stage: str, outcome: StageOutcome[T]) -> bool:
    if outcome.waiting:
        result.waiting = stage
        return True
    _lost(result, f"{stage}: answers", outcome.dropped.items())
    result.counts[f"{stage}: answers"] = len(outcome.made)
    return False


def _sifted(result: Synthesis, step: str, sifted: Sifted[T]) -> list[T]:
    _lost(result, step, sifted.dropped.items())
    result.counts[step] = len(sifted.kept)
    return sifted.kept


def _lost(result: Synthesis, step: str, dropped: Iterable[tuple[str, int]]) -> None:
    result.losses += [(step, reason, count) for reason, count in sorted(dropped)]
