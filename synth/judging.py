"""Pairs to judged pairs: a model that reasons says true or false, several times; its thought becomes the target."""

from __future__ import annotations

import asyncio
import re

from .ask import Ask, Dropped, settle
from .config import SynthConfig
from .records import JudgedPair, Judgment, WrittenPassage, WrittenQuery
from .reply import Reply, Unusable
from .requests import request
from .templates import Prompts

_LAST = re.compile(r"(?:^|[\s*_`\"'(.:])(true|false)[\s*_`\"').]*$", re.IGNORECASE)
_DIGIT = re.compile(r"(?:^|[^\d.])([0-4])(?:\s*/\s*4)?[\s*_`\"').]*$")


async def judge(
    query: WrittenQuery, passage: WrittenPassage, config: SynthConfig, prompts: Prompts, ask: Ask
) -> JudgedPair:
    """Have a pair judged.

    Args:
        query: the query.
        passage: the passage.
        config: the judge, and how many samples.
        prompts: the wording.
        ask: gives answers.

    Returns:
        The pair with its judgments, labeled as intended.

    Raises:
        Dropped: a judgment has no usable answer.
        Waiting: an answer is not there yet.
    """
    prompt = prompts.fill("judge", query=query.text, passage=passage.text)
    found = await asyncio.gather(
        *(
            settle(
                ask,
                config.judge,
                request(config.judge, prompt, seed=sample),
                _verdict,
                prompts,
                attempts=config.attempts,
            )
            for sample in range(config.samples)
        ),
        return_exceptions=True,
    )
    for each in sorted(
        (each for each in found if isinstance(each, BaseException)), key=lambda e: isinstance(e, Dropped)
    ):
        raise each  # one that waits before one that is lost: all answers are there before a pair is given up
    judgments = tuple(
        Judgment(label=label, reasoning=reasoning, request=key)
        for (label, reasoning), key in (each for each in found if not isinstance(each, BaseException))
    )
    return JudgedPair(query=query, passage=passage, judgments=judgments, label=passage.intended)


async def grade(query: str, passage: str, config: SynthConfig, prompts: Prompts, ask: Ask) -> float:
    """Have a pair graded, for soft labels.

    Args:
        query: the query.
        passage: the passage.
        config: the judge, and how many samples.
        prompts: the wording.
        ask: gives answers.

    Returns:
        The mean grade, from 0 to 1.

    Raises:
        Dropped: a sample has no usable answer.
        Waiting: an answer is not there yet.
    """
    prompt = prompts.fill("grade", query=query, passage=passage)
    grades = []
    for sample in range(config.samples):
        body = request(config.judge, prompt, seed=sample)
        value, _ = await settle(ask, config.judge, body, _grade, prompts, attempts=config.attempts)
        grades.append(value)
    return sum(grades) / len(grades) / 4


def _verdict(reply: Reply) -> tuple[bool, str]:
    """The label that ends the answer, and the thought: apart (R1), or the text in front of the label."""
    found = _LAST.search(reply.text)
    if found is None:
        raise Unusable("no true or false at the end")
    reasoning = reply.thought or reply.text[: found.start()].strip()
    if not reasoning:
        raise Unusable("a verdict without a thought")
    return found[1].lower() == "true", reasoning


def _grade(reply: Reply) -> int:
    found = _DIGIT.search(reply.text)
    if found is None:
        raise Unusable("no grade from 0 to 4 at the end")
    return int(found[1])
