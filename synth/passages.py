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

LEAST = 20  # words
GIVE_AWAY = re.compile(
    r"\b(?:this|the (?:above|following)) (?:passage|text|excerpt)\b"
    r"|\b(?:ir)?relevant to (?:the|your|this) (?:query|question)\b"
    r"|\bthe (?:query|question) (?:asks|above)\b|\b(?:hard[- ])?negative (?:passage|example)\b|\bas an ai\b",
    re.IGNORECASE,
)
"""Wording that gives away that a passage was made for training or a test."""


async def write_passage(
    outline: Outline, place: int, config: SynthConfig, guidelines: Guidelines, prompts: Prompts, ask: Ask
) -> WrittenPassage:
    """Have the generator write one passage of an outline.

    Args:
        outline: a query and descriptions.
        place: the index of the description.
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
    query, description = outline.query, outline.descriptions[place]
    document = guidelines.by_name["documents"][query.documents[place]]
    name = f"{query.id}-p{place}"
    words = random.Random(f"{config.seed} {name}").randint(*document.words)
    prompt = prompts.fill(
        "passage",
        document=document.name,
        register=document.register_,
        words=words,
        description=description.text,
    )
    body = request(config.generator, prompt)
    text, key = await settle(ask, config.generator, body, _read, prompts, attempts=config.attempts)
    return WrittenPassage(
        id=name,
        query=query.id,
        kind=description.kind,
        text=text,
        description=description.text,
        document=document.name,
        request=key,
    )


def _read(reply: Reply) -> str:
    if len(reply.text.split()) < LEAST:
        raise Unusable("the passage is too short")
    if (found := GIVE_AWAY.search(reply.text)) is not None:
        raise Unusable(f"wording that gives it away ({found[0]!r})")
    return reply.text
