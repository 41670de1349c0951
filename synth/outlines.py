"""From queries to outlines: a long thought about the query, and descriptions of its passages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from .ask import Ask, settle
from .config import SynthConfig
from .guidelines import Guidelines
from .records import Description, Outline, WrittenQuery
from .reply import Reply, Unusable, read_json
from .requests import request
from .templates import Prompts

LEAST_THOUGHT = 60  # words; the prompt asks for at least 150


class OutlineReply(BaseModel):
    """The answer. Its title goes into requests, and so into the keys of recorded answers."""

    model_config = ConfigDict(extra="forbid", title="plan")

    thought: str
    positive: str
    negatives: list[str]


async def write_outline(
    query: WrittenQuery, config: SynthConfig, guidelines: Guidelines, prompts: Prompts, ask: Ask
) -> Outline:
    """Have the generator think about a query and describe its passages.

    Args:
        query: the query, with the kinds of its negatives.
        config: the generator.
        guidelines: what kinds and difficulties mean.
        prompts: the wording.
        ask: gets answers.

    Returns:
        The outline. Its descriptions are the positive, then the negatives in the order of the query.

    Raises:
        Dropped: no usable answer.
        Waiting: the answer has not arrived yet.
    """
    by = guidelines.by_name
    prompt = prompts.fill(
        "outline",
        query=query.text,
        relation=by["difficulties"][query.difficulty].relation,
        count=len(query.negatives),
        negatives="\n".join(
            f'  {number}. "{kind}": {by["negatives"][kind].about}' for number, kind in enumerate(query.negatives, 1)
        ),
        slots=", ".join(['"..."'] * len(query.negatives)),
    )

    def read(reply: Reply) -> OutlineReply:
        found = read_json(reply, OutlineReply)
        if len(found.negatives) != len(query.negatives):
            raise Unusable(f"the wrong number of negatives ({len(found.negatives)}, not {len(query.negatives)})")
        if not all(text.strip() for text in (found.positive, *found.negatives)):
            raise Unusable("an empty description")
        if len(found.thought.split()) < LEAST_THOUGHT:
            raise Unusable("the thought is too short")
        return found

    body = request(config.generator, prompt, shape=OutlineReply)
    found, key = await settle(ask, config.generator, body, read, prompts, attempts=config.attempts)
    descriptions = [Description(kind="positive", text=found.positive.strip())]
    descriptions += [
        Description(kind=kind, text=text.strip()) for kind, text in zip(query.negatives, found.negatives, strict=True)
    ]
    return Outline(query=query, thought=found.thought.strip(), descriptions=tuple(descriptions), request=key)
