"""LimRank models with another ranker than their verdicts: ``limrank-smol@setwise:top=10``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from limrank_ir.models import ModelOptions
from limrank_ir.rankers.behind import SIGN, split_ranker
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.fit import engine_ask
from limrank_ir.rankers.named import as_ranker, spec
from limrank_ir.rankers.order import Candidates, Counts, Ranker
from limrank_ir.rankers.run import most_questions, rank_candidates

from .limrank import LastEngine, named
from .system import FUSION_WEIGHT, InstructedPair, Scorer, System, Work, by_query


def ranker_system(name: str, options: ModelOptions, store: Path, last: LastEngine, *, thoughts: bool = True) -> System:
    """A LimRank model with a ranker. Its scores are those of the ranker's orders.

    The ranker gets the candidates in the order of the first stage, without its scores: the suite itself fuses the two.

    Args:
        name: ``MODEL@RANKER`` or ``MODEL@RANKER@FORMAT``: what `limrank_system` takes, what
            `limrank_ir.rankers.named.as_ranker` takes, and a format of `limrank_ir.prompts.sets` (several, each with
            its ``@``).
        options: how to run the model.
        store: the file for verdicts and answers.
        last: keeps the engine loaded until a system has another one.
        thoughts: whether that file keeps what the model writes.

    Returns:
        The system.

    Raises:
        InputError: as for `limrank_system`; or the ranker or a format is unknown, or they do not go together.
    """
    base, (text, *formats) = split_ranker(name)
    ranker = as_ranker(text)
    found = named(base, options, store, last, thoughts=thoughts)
    engine_ask(found.model, ranker, formats)  # what does not go together is an error now
    what = SIGN.join([spec(ranker), *formats])
    identity = f"{found.model.engine.identity} {found.model.model.prompt_format} ranker={what}"

    def scorer(*, stored: bool) -> Scorer:
        limrank = found.load(stored=stored)
        return lambda pairs, advance: _score(engine_ask(limrank, ranker, formats), ranker, pairs, advance)

    return System(
        name=name,
        # Commas and = separate the names and weights of fusions.
        label=f"{found.label}{SIGN}{what.replace(',', ':').replace('=', '-')}",
        identity=f"{identity} think={found.model.think} budget={found.model.budget}",
        weight=FUSION_WEIGHT,
        adapter=found.adapter,
        start=lambda: scorer(stored=True),
        reads="query and instruction",
        fresh=lambda: scorer(stored=False),
    )


def _score(
    ask: EngineAsk, ranker: Ranker, pairs: Sequence[InstructedPair], advance: Callable[[int], None]
) -> tuple[list[float], Work]:
    started = time.perf_counter()
    groups = [group for group in by_query(pairs) if group]
    queries = (
        Candidates(pairs[group[0]][0], [pairs[place][1] for place in group], instruction=pairs[group[0]][2])
        for group in groups
    )
    scores, tokens = [0.0] * len(pairs), [0] * len(pairs)
    counts = Counts()
    share = _Share(len(pairs), most_questions(ranker, map(len, groups)), advance)
    for number, order in rank_candidates(ask, ranker, queries, progress=share.count):
        group = groups[number]
        for index, score in zip(order.indices, order.scores, strict=True):
            scores[group[index]] = score
        tokens[group[0]] = order.counts.tokens  # of the query: questions are about several pairs
        counts += order.counts
    share.finish()
    stats = ask.stats
    asked = stats.calls + stats.stored
    work = Work(
        pairs=len(pairs),
        judged=len(pairs) * stats.calls // asked if asked else 0,  # the rest was known from an earlier call
        seconds=time.perf_counter() - started,
        tokens=counts.tokens,
        cut=stats.cut,
        cut_tokens=stats.cut_tokens,
        forced=stats.unfinished,
        pair_tokens=tuple(tokens),
        calls=asked,
        repaired=counts.repaired,
        failed=counts.failed,
    )
    return scores, work


class _Share:
    """Counts pairs as done by the share of questions that are: queries run in lockstep, and would end all at once."""

    def __init__(self, pairs: int, questions: int, advance: Callable[[int], None]) -> None:
        self._pairs, self._questions, self._advance = pairs, questions, advance
        self._answered = self._shown = 0

    def count(self, questions: int) -> None:
        self._answered += questions
        self._show(self._pairs * min(self._answered, self._questions) // max(1, self._questions))

    def finish(self) -> None:
        self._show(self._pairs)

    def _show(self, pairs: int) -> None:
        if pairs > self._shown:
            self._advance(pairs - self._shown)
            self._shown = pairs
