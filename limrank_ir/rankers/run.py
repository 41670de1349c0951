"""A ranker over many queries."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sized

from limrank_ir.formats.pairs import checked_pair
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.lockstep import lockstep
from limrank_ir.rankers.order import Candidates, Counts, Order, Ranker

log = logging.getLogger("limrank_ir")


def rank_candidates(
    ask: EngineAsk,
    ranker: Ranker,
    queries: Iterable[Candidates],
    *,
    live: int = 64,
    show_progress_bar: bool = False,
) -> Iterator[tuple[int, Order]]:
    """Rank the candidates of many queries. The engine gets the questions of all live queries together.

    Args:
        ask: answers the ranker's questions; its `EngineAsk.stats` have what it has cost.
        ranker: the ranker.
        queries: the candidates of each query. They are taken as there is room for them.
        live: how many queries are at work, and in memory, at once.
        show_progress_bar: draw a progress bar of queries on stderr.

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

    total = len(queries) if isinstance(queries, Sized) else None
    counts = Counts()
    with tqdm(total=total, desc=ask.limrank.model.name, unit="query", disable=not show_progress_bar) as bar:
        for number, order in lockstep(map(ranker.steps, _checked(queries)), ask, live=live):
            bar.update()
            counts += order.counts
            yield number, order
    for remark in [*counts.remarks(), *ask.stats.remarks()]:
        log.warning("%s", remark)


def _checked(queries: Iterable[Candidates]) -> Iterator[Candidates]:
    """The same candidates, of which all texts can be asked about, also those that no question shows."""
    for number, candidates in enumerate(queries):
        query, instruction = candidates.query, candidates.instruction
        where = f"query {number}, {str(query)[:40]!r}"
        checked_pair(where, (query, "", instruction))
        for place, text in enumerate(candidates.texts):
            checked_pair(f"{where}, candidate {place}", (query, text, instruction))
        yield candidates
