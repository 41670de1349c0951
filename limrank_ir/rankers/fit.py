"""Whether a ranker, a model, and formats fit each other: checked before hours of work, not after them."""

from __future__ import annotations

from collections.abc import Iterable

from limrank_ir.errors import InputError
from limrank_ir.prompts import SETS
from limrank_ir.prompts.sets import SET_FORMATS, SetFormat, set_format
from limrank_ir.rankers.asking import Answer, Write
from limrank_ir.rankers.by_engine import JUDGE, EngineAsk
from limrank_ir.rankers.named import spec
from limrank_ir.rankers.order import Candidates, Ranker
from limrank_ir.rankers.pointwise import Pointwise
from limrank_ir.reranker import LimRank

_PROBE = Candidates("query", ("one passage", "another passage"))


def engine_ask(limrank: LimRank, ranker: Ranker, formats: Iterable[str] = ()) -> EngineAsk:
    """What answers a ranker's questions, if its options have an effect on them.

    Args:
        limrank: the model, its engine, and the store.
        ranker: the ranker.
        formats: names of formats to use for their tasks (`limrank_ir.prompts.sets.SET_FORMATS`).

    Returns:
        What `limrank_ir.rankers.run.rank_candidates` takes. Nothing is loaded.

    Raises:
        InputError: there is no such format, the ranker does not use it, or the think mode or the model does not go with
            the ranker.
    """
    if isinstance(formats, str):
        raise InputError(f"the formats are one string, {formats!r}; give a list of names")
    chosen = [set_format(name) for name in formats]
    asked = tasks(ranker)
    by_task: dict[str, str] = {}
    for fmt in chosen:
        if (other := by_task.setdefault(fmt.task, fmt.name)) != fmt.name:
            raise InputError(f"the formats {other} and {fmt.name} both ask for the {fmt.task}; give one of them")
        if not _used(fmt, asked):
            usable = formats_of(ranker)
            advice = f"it has {', '.join(usable)}" if usable else "it has the model's own prompt only"
            hint = "; where the model writes, such as with by=answer, a thought is possible" if fmt.thinks else ""
            raise InputError(f"the format {fmt.name} has no effect with {spec(ranker)}; {advice}{hint}")
    if limrank.model.prompt_format == SETS.name and (JUDGE, False) in asked:
        raise InputError(
            f"{limrank.model.name}: judges no single passages, which {spec(ranker)} asks for; give another ranker, "
            f"such as {limrank.model.ranker or 'setwise'!r}"
        )
    if limrank.think == "auto" and not isinstance(ranker, Pointwise):
        raise InputError(
            f"think='auto' compares the verdicts of all passages of a query, but {spec(ranker)} does not ask for them "
            "together; set never or always"
        )
    alone = any(task == JUDGE or task.startswith("grade-") for task, _ in asked)
    if limrank.think not in ("never", limrank.model.think) and not alone:
        raise InputError(
            f"think={limrank.think!r} has no effect with {spec(ranker)}, which asks about several passages at once; "
            "leave it out, and choose a format with a thought, such as reason-rank or rank-r1"
        )
    return EngineAsk(limrank, formats=[fmt.name for fmt in chosen])


def tasks(ranker: Ranker) -> frozenset[tuple[str, bool]]:
    """What a ranker asks: the task, and whether the model writes. It is found by asking it about two passages.

    Example:
        >>> from limrank_ir.rankers.setwise import Setwise
        >>> sorted(tasks(Setwise(by="answer")))
        [('best', True)]
    """
    steps = ranker.steps(_PROBE)
    asked = set()
    try:
        questions = next(steps)
        while True:
            asked |= {(question.task, isinstance(question, Write)) for question in questions}
            questions = steps.send([Answer()] * len(questions))  # of no use, so that nothing is left out
    except StopIteration:
        return frozenset(asked)


def formats_of(ranker: Ranker) -> list[str]:
    """The names of the formats that can be chosen for a ranker."""
    asked = tasks(ranker)
    return [fmt.name for fmt in SET_FORMATS.values() if _used(fmt, asked)]


def _used(fmt: SetFormat, asked: Iterable[tuple[str, bool]]) -> bool:
    return any(task == fmt.task and (writes or not fmt.thinks) for task, writes in asked)
