"""Prompts about several passages, which `limrank_ir.rankers` ask: the wire formats of the families of rerankers.

A question names a task; each task has several formats.
"""

from __future__ import annotations

from limrank_ir.errors import InputError
from limrank_ir.prompts.sets.attention import ICR, ICR_QA, ICR_SIMPLE
from limrank_ir.prompts.sets.format import Chat, Message, SetFormat, clean_of_lists
from limrank_ir.prompts.sets.graded import GRADE_4, GRADE_10, GROUP_RANK
from limrank_ir.prompts.sets.intent import HELP, NEED
from limrank_ir.prompts.sets.listwise import FIRST, LISTWISE, RANK_GPT, RANK_ZEPHYR, REARANK, REASON_RANK
from limrank_ir.prompts.sets.setwise import RANK_R1, SETWISE, SETWISE_NUMBERS

__all__ = [
    "LISTWISE",
    "READS",
    "SETWISE_NUMBERS",
    "SET_FORMATS",
    "WRITES",
    "Chat",
    "Message",
    "SetFormat",
    "clean_of_lists",
    "set_format",
]

SET_FORMATS = {
    fmt.name: fmt
    for fmt in (
        RANK_ZEPHYR,
        RANK_GPT,
        REASON_RANK,
        REARANK,
        LISTWISE,
        FIRST,
        SETWISE,
        RANK_R1,
        SETWISE_NUMBERS,
        GRADE_4,
        GRADE_10,
        GROUP_RANK,
        HELP,
        NEED,
        ICR,
        ICR_QA,
        ICR_SIMPLE,
    )
}
# The format of each task, if no other one is chosen: none of them needs a model that was trained for it. An order is
# read off the first identifier, which needs letters: numbers from 10 on begin with the same token as others.
READS = {
    "order": FIRST,
    "best": SETWISE,
    "grade-4": GRADE_4,
    "grade-10": GRADE_10,
    "help": HELP,
    "need": NEED,
    "attention": ICR,
}
WRITES = {"order": RANK_ZEPHYR, "best": SETWISE, "grades": GROUP_RANK}


def set_format(name: str) -> SetFormat:
    """Look up a format.

    Args:
        name: a name in `SET_FORMATS`.

    Returns:
        The format.

    Raises:
        InputError: there is none of that name.
    """
    try:
        return SET_FORMATS[name]
    except KeyError:
        raise InputError(f"unknown format {name!r}; choose one of: {', '.join(SET_FORMATS)}") from None
