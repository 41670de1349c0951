"""From outlines to passages. Each is written on its own, and its writer does not see the query."""

from __future__ import annotations

import random
import re

from .ask import Ask, settle
from .config import SynthConfig
from .guidelines import Guidelines
from .records import Outline, WrittenPassage
from .reply import Reply, Unusable
from .requests import request
from .templates import Prompts
from .wording import talk, unfenced

SLACK = (0.5, 1.8)
"""How much shorter and longer than asked a passage may be."""
GIVE_AWAY = re.compile(
    r"\b(?:this|the (?:above|following)) (?:passage|text|excerpt)\b"
    r"|\b(?:ir)?relevant to (?:the|your|this) (?:query|question)\b"
    r"|\bthe (?:query|question) (?:asks|above)\b|\b(?:hard[- ])?negative (?:passage|example)\b",
    re.IGNORECASE,
)
"""Wording that gives away that a passage was made for training or a test."""


async def write_passage(
    outline: Outline, place: int, config: SynthConfig, guidelines: Guidelines, prompts: Prompts, ask: Ask
) -> WrittenPassage:
    """Have the generator write one passage of an outline.

    Args:
        outline: a query and the passages to write.
        place: the index of the passage.
        config: the generator.
        guidelines: what the document types are like.
        prompts: the wording.
        ask: gets answers.

    Returns:
        The passage.

    Raises:
        Dropped: no usable answer.
        Waiting: the answer has not arrived yet.
    """
    query, planned = outline.query, outline.passages[place]
    document = guidelines.by_name["documents"][planned.document]
    # What differs from the positive in one fact is as long as it is.
    same = place == 0 or guidelines.made(planned.kind) == "edited"
    length = random.Random(f"{config.seed} {query.id}-p{0 if same else place}").randint(*document.words)
    prompt = prompts.fill(
        "passage",
        document=document.name,
        register=document.register_,
        words=length,
        content=planned.content,
    )

    def read(reply: Reply) -> str:
        text = unfenced(reply.text)
        count = len(text.split())
        if not SLACK[0] * length <= count <= SLACK[1] * length:
            raise Unusable(f"a passage of the wrong length ({count} words, not {length})")
        if fault := talk(text):
            raise Unusable(fault)
        if (found := GIVE_AWAY.search(text)) is not None:
            raise Unusable(f"wording that gives it away ({found[0]!r})")
        return text

    body = request(config.generator, prompt)
    text, key = await settle(ask, config.generator, body, read, prompts, attempts=config.attempts)
    return WrittenPassage(
        id=f"{query.id}-p{place}",
        query=query.id,
        kind=planned.kind,
        text=text,
        content=planned.content,
        flaw=planned.flaw,
        document=document.name,
        request=key,
    )
