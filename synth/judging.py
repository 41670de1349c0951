"""From pairs to judged pairs. A reasoning model says true or false, several times; its thought becomes the target."""

from __future__ import annotations

import asyncio
import re

from .ask import Ask, Dropped, settle
from .config import SynthConfig
from .guidelines import Guidelines
from .records import JudgedPair, Judgment, Outline, WrittenPassage
from .reply import Reply, Unusable
from .requests import request
from .templates import Prompts
from .wording import talk

SLACK = (0.7, 1.4)
"""How much shorter and longer than asked a reasoning may be."""
LEAST = 10
"""How many words before the verdict are a reasoning. Otherwise, the model's thought is."""
_LAST = re.compile(r"(?:^|[\s*_`\"'(.:])(true|false)[\s*_`\"').]*$", re.IGNORECASE)
_NEITHER = re.compile(r"(?:\b(?:or|nor|not)|n't)[ \t*_`\"']*\Z", re.IGNORECASE)  # "true or false", "not true"
_DIGIT = re.compile(r"(?:^|[^\d.])([0-4])(?:\s*(?:/|(?:out )?of)\s*4)?[\s*_`\"').]*$")
_SCALE = re.compile(r"(?:/|\bof|\d\s*(?:[-\N{EN DASH}]|to|and|or))[ \t]*\Z")  # before the end of a scale: "1.5/4"


async def judge(
    outline: Outline,
    passage: WrittenPassage,
    config: SynthConfig,
    guidelines: Guidelines,
    prompts: Prompts,
    ask: Ask,
) -> JudgedPair:
    """Have a pair judged, against what the outline says the query needs: the same for all passages of a query.

    Args:
        outline: the query and what it needs.
        passage: the passage.
        config: the judge and the number of samples.
        guidelines: how long a reasoning is.
        prompts: the wording.
        ask: gets answers.

    Returns:
        The pair with its judgments, labeled as intended.

    Raises:
        Dropped: a judgment has no usable answer.
        Waiting: an answer has not arrived yet.
    """
    query = outline.query
    least, most = guidelines.by_name["difficulties"][query.brief.difficulty].trace
    prompt = prompts.fill("judge", query=query.text, passage=passage.text, need=outline.need, least=least, most=most)

    def read(reply: Reply) -> tuple[bool, str]:
        label, reasoning = _verdict(reply)
        count = len(reasoning.split())
        if not SLACK[0] * least <= count <= SLACK[1] * most:
            raise Unusable(f"a reasoning of the wrong length ({count} words, not {least} to {most})")
        if fault := talk(reasoning):
            raise Unusable(fault)
        return label, reasoning

    async def sample(seed: int) -> Judgment:
        body = request(config.judge, prompt, seed=seed)
        (label, reasoning), key = await settle(ask, config.judge, body, read, prompts, attempts=config.attempts)
        return Judgment(label=label, reasoning=reasoning, request=key)

    found = await asyncio.gather(*map(sample, range(config.samples)), return_exceptions=True)
    judgments = [each for each in found if isinstance(each, Judgment)]
    # A pair is given up only when all its answers have arrived, so that every run gives up the same pairs.
    errors = [each for each in found if isinstance(each, BaseException)]
    errors.sort(key=lambda error: isinstance(error, Dropped))
    if errors:
        raise errors[0]
    return JudgedPair(
        query=query, need=outline.need, passage=passage, judgments=tuple(judgments), label=passage.intended
    )


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
    """The label at the end of the answer, and the reasoning: the text before the label, else the model's thought.

    The thought of a reasoning model is no draft for the length that the prompt asks for.
    """
    found = _LAST.search(reply.text)
    if found is None or _NEITHER.search(reply.text[: found.start(1)]):
        raise Unusable("no true or false at the end")
    written = reply.text[: found.start()].strip()
    reasoning = written if len(written.split()) >= LEAST else reply.thought or written
    if not reasoning:
        raise Unusable("a verdict without reasoning")
    return found[1].lower() == "true", reasoning


def _grade(reply: Reply) -> int:
    found = _DIGIT.search(reply.text)
    if found is None or _SCALE.search(reply.text[: found.start(1)]):
        raise Unusable("no grade from 0 to 4 at the end")
    return int(found[1])
