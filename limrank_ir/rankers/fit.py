"""Whether a ranker, a model, and formats fit each other: checked before hours of work, not after them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.prompts import SETS
from limrank_ir.prompts.sets import READS, SET_FORMATS, WRITES, SetFormat, set_format
from limrank_ir.prompts.sets.format import NUMBERS
from limrank_ir.rankers.asking import Answer, Question, Write
from limrank_ir.rankers.by_engine import JUDGE, EngineAsk
from limrank_ir.rankers.lockstep import lockstep
from limrank_ir.rankers.named import RANKERS, spec
from limrank_ir.rankers.order import Candidates, Ranker
from limrank_ir.rankers.pointwise import Pointwise
from limrank_ir.reranker import LimRank

Windows = Mapping[tuple[str, bool], int]
"""(the task, whether the model writes) to the number of passages that are shown at once, at most."""

_PROBE = Candidates("query", [f"passage {number}" for number in range(len(NUMBERS) + 1)])  # more than any format shows

_REPEATING = {"repeats": 1, "seed": 0}  # options that do not change what kinds of questions there are


def engine_ask(
    limrank: LimRank, ranker: Ranker, formats: Iterable[str] = (), *, shown: Windows | None = None
) -> EngineAsk:
    """What answers a ranker's questions, if its options have an effect on them.

    Args:
        limrank: the model, its engine, and the store.
        ranker: the ranker.
        formats: names of formats to use for their tasks (`limrank_ir.prompts.sets.SET_FORMATS`).
        shown: the ranker's `windows`, if they are known.

    Returns:
        What `limrank_ir.rankers.run.rank_candidates` takes. Nothing is loaded.

    Raises:
        InputError: there is no such format, the ranker does not use it or shows more passages than it can, or the think
            mode, the model, or its engine does not go with the ranker.
    """
    if isinstance(formats, str):
        raise InputError(f"the formats are one string, {formats!r}; give a list of names")
    chosen = [set_format(name) for name in formats]
    shown = windows(ranker) if shown is None else shown
    asked = frozenset(shown)
    by_task: dict[str, str] = {}
    for fmt in chosen:
        if (other := by_task.setdefault(fmt.task, fmt.name)) != fmt.name:
            raise InputError(f"the formats {other} and {fmt.name} both ask for the {fmt.task}; give one of them")
        if not _used(fmt, asked):
            usable = formats_of(ranker)
            advice = f"it has {', '.join(usable)}" if usable else "it has the model's own prompt only"
            hint = "; where the model writes, such as with by=answer, a thought is possible" if fmt.thinks else ""
            raise InputError(f"the format {fmt.name} has no effect with {spec(ranker)}; {advice}{hint}")
    own = None if limrank.model.set_format is None else set_format(limrank.model.set_format)
    if own is not None and own.task not in by_task and own.task in dict(asked) and not _used(own, asked):
        raise InputError(
            f"{limrank.model.name}: writes its answer after a thought (format {own.name}), and {spec(ranker)} reads "
            f"labels instead; use {limrank.model.ranker!r}, or choose a format without a thought"
        )
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
    ask = EngineAsk(limrank, formats=[fmt.name for fmt in chosen])
    # A thought stands before verdicts, and before the grades that a model was trained for, not before other labels.
    thinks = not asked.isdisjoint({(JUDGE, False), (ask.own_grades, False)})
    if limrank.think not in ("never", limrank.model.think) and not thinks:
        if max(shown.values(), default=0) > 1:
            why = "asks about several passages at once; leave it out, and choose a format with a thought, such as"
            why += " reason-rank or rank-r1"
        else:
            why = "reads labels without a thought; leave it out, or choose a ranker that judges passages, such as"
            why += " pointwise"
        raise InputError(f"think={limrank.think!r} has no effect with {spec(ranker)}, which {why}")
    for (task, writes), passages in shown.items():
        if (task, writes) != (JUDGE, False):
            ask.check(task, passages, writes=writes)
    return ask


def windows(ranker: Ranker) -> Windows:
    """What a ranker asks, and about how many passages at once, at most. It is found by letting it rank some, once.

    Args:
        ranker: the ranker.

    Returns:
        (the task, whether the model writes) to the number of passages.

    Raises:
        InputError: the ranker asks nothing, again and again.
    """
    found: dict[tuple[str, bool], int] = {}

    def ask(questions: Sequence[Question]) -> list[Answer]:
        for question in questions:
            kind = (question.task, isinstance(question, Write))
            found[kind] = max(found.get(kind, 0), len(question.passages))
        return [Answer()] * len(questions)  # of no use, so that nothing is left out

    for _ in lockstep([once(ranker).steps(_PROBE)], ask):
        pass
    return found


def once(ranker: Ranker) -> Ranker:
    """The same ranker without repeats or a seed of its own.

    It asks the same kinds of questions, and shows as many passages in them. Of rankers that have no name, nobody knows.

    Example:
        >>> from limrank_ir.rankers.setwise import Setwise
        >>> spec(once(Setwise(top=5, repeats=3, seed=7)))
        'setwise:top=5'
    """
    if type(ranker) not in RANKERS.values():
        return ranker
    options: Any = ranker
    plain: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if hasattr(value, "steps"):
            plain[field.name] = once(value)
        elif field.name in _REPEATING:
            plain[field.name] = _REPEATING[field.name]
    return replace(options, **plain)


def tasks(ranker: Ranker) -> frozenset[tuple[str, bool]]:
    """What a ranker asks: the task, and whether the model writes.

    Example:
        >>> from limrank_ir.rankers.setwise import Setwise
        >>> sorted(tasks(Setwise(by="answer")))
        [('best', True)]
    """
    return frozenset(windows(ranker))


def formats_of(ranker: Ranker) -> list[str]:
    """The names of the formats that can be chosen for a ranker, those that it has by default first."""
    asked = tasks(ranker)
    usable = [fmt.name for fmt in SET_FORMATS.values() if _used(fmt, asked)]
    return list(dict.fromkeys([*default_formats(ranker), *usable]))


def default_formats(ranker: Ranker) -> list[str]:
    """The names of the formats that a ranker has if none is chosen, and the model has none of its own."""
    kinds = [(task, WRITES if writes else READS) for task, writes in sorted(tasks(ranker))]
    return list(dict.fromkeys(formats[task].name for task, formats in kinds if task in formats))


def _used(fmt: SetFormat, asked: Iterable[tuple[str, bool]]) -> bool:
    return any(task == fmt.task and (writes or not fmt.thinks) for task, writes in asked)
