"""A ranker over many queries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from limrank_ir.formats.pairs import checked_pair
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.lockstep import lockstep
from limrank_ir.rankers.order import Candidates, Counts, Order, Ranker, Steps

log = logging.getLogger("limrank_ir")


def rank_candidates(
    ask: EngineAsk,
    ranker: Ranker,
    queries: Iterable[Candidates],
    *,
    live: int = 64,
    progress: Callable[[int], None] | None = None,
    show_progress_bar: bool = False,
) -> Iterator[tuple[int, Order]]:
    """Rank the candidates of many queries. The engine gets the questions of all live queries together.

    Args:
        ask: answers the ranker's questions; its `EngineAsk.stats` have what it has cost.
        ranker: the ranker.
        queries: the candidates of each query. They are taken as there is room for them.
        live: how many queries are at work, and in memory, at once.
        progress: called with the number of questions done since its last call: answered, or spared because their query
            is done with fewer than `most_questions`, which all calls add up to.
        show_progress_bar: draw a progress bar of questions on stderr.

    Yields:
        (number of the query, order) of each query, as soon as it is done.

    Raises:
        InputError: an option is invalid, a query is empty, a text is none, or the engine cannot do what is asked.
        EngineError: the engine or the store fails. What was answered is in the store, so that the same call goes on.

    Example:
        >>> ask = EngineAsk(LimRank(store="answers.sqlite"))  # doctest: +SKIP
        >>> orders = dict(rank_candidates(ask, Setwise(top=10), queries))  # doctest: +SKIP
    """
    from tqdm.auto import tqdm

    total = most_questions(ranker, (len(each.texts) for each in queries)) if isinstance(queries, Sequence) else None
    counts = Counts()
    most: dict[int, int] = {}  # questions of each live query
    with tqdm(total=total, desc=ask.limrank.model.name, unit="question", disable=not show_progress_bar) as bar:

        def advance(count: int) -> None:
            bar.update(count)
            if progress is not None and count:
                progress(count)

        def runs() -> Iterator[Steps]:
            for number, candidates in enumerate(_checked(queries)):
                most[number] = ranker.calls(len(candidates.texts))
                yield ranker.steps(candidates)

        # Queries run in lockstep and end together, so that they would stand still for hours and then jump.
        for number, order in lockstep(runs(), partial(ask, progress=advance), live=live):
            advance(max(0, most.pop(number) - order.counts.questions))
            counts += order.counts
            yield number, order
    for remark in [*counts.remarks(), *ask.stats.remarks()]:
        log.warning("%s", remark)


def most_questions(ranker: Ranker, candidates: Iterable[int]) -> int:
    """The most questions that queries can cost, for progress.

    Args:
        ranker: the ranker.
        candidates: the number of candidates of each query.
    """
    return sum(map(ranker.calls, candidates))


def _checked(queries: Iterable[Candidates]) -> Iterator[Candidates]:
    """The same candidates, of which all texts can be asked about, also those that no question shows."""
    for number, candidates in enumerate(queries):
        query, instruction = candidates.query, candidates.instruction
        where = f"query {number}, {str(query)[:40]!r}"
        checked_pair(where, (query, "", instruction))
        for place, text in enumerate(candidates.texts):
            checked_pair(f"{where}, candidate {place}", (query, text, instruction))
        yield candidates
