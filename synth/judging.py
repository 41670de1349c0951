"""From pairs to judged pairs. A reasoning model says true or false, several times; its thought becomes the target."""

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
        config: the judge and the number of samples.
        prompts: the wording.
        ask: gets answers.

    Returns:
        The pair with its judgments, labeled as intended.

    Raises:
        Dropped: a judgment has no usable answer.
        Waiting: an answer has not arrived yet.
    """
    prompt = prompts.fill("judge", query=query.text, passage=passage.text)

    async def sample(seed: int) -> Judgment:
        body = request(config.judge, prompt, seed=seed)
        (label, reasoning), key = await settle(ask, config.judge, body, _verdict, prompts, attempts=config.attempts)
        return Judgment(label=label, reasoning=reasoning, request=key)

    found = await asyncio.gather(*map(sample, range(config.samples)), return_exceptions=True)
    judgments = [each for each in found if isinstance(each, Judgment)]
    # A pair is given up only when all its answers have arrived, so that every run gives up the same pairs.
    errors = [each for each in found if isinstance(each, BaseException)]
    errors.sort(key=lambda error: isinstance(error, Dropped))
    if errors:
        raise errors[0]
    return JudgedPair(query=query, passage=passage, judgments=tuple(judgments), label=passage.intended)


async def grade(query: str, passage: str, config: SynthConfig, prompts: Prompts, ask: Ask) -> float:
    """Have a pair graded, for soft labels.

    Args:
        query: the query.
        passage: the passage.
        config: the judge and the number of samples.
        prompts: the wording.
        ask: gets answers.

    Returns:
        The mean grade, from 0 to 1.

    Raises:
        Dropped: a sample has no usable answer.
        Waiting: an answer has not arrived yet.
    """
    prompt = prompts.fill("grade", query=query, passage=passage)
    grades = []
    for sample in range(config.samples):
        body = request(config.judge, prompt, seed=sample)
        value, _ = await settle(ask, config.judge, body, _grade, prompts, attempts=config.attempts)
        grades.append(value)
    return sum(grades) / len(grades) / 4


def _verdict(reply: Reply) -> tuple[bool, str]:
    """The label at the end of the answer, and the thought: the separate one, else the text before the label."""
    found = _LAST.search(reply.text)
    if found is None:
        raise Unusable("no true or false at the end")
    reasoning = reply.thought or reply.text[: found.start()].strip()
    if not reasoning:
        raise Unusable("a verdict without reasoning")
    return found[1].lower() == "true", reasoning


def _grade(reply: Reply) -> int:
    found = _DIGIT.search(reply.text)
    if found is None:
        raise Unusable("no grade from 0 to 4 at the end")
    return int(found[1])
