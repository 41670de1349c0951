"""From couples to queries: a daily-life and an expert query for each seed and persona."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from .ask import Ask, settle
from .config import SynthConfig
from .guidelines import Guidelines
from .records import Couple, Kind, WrittenQuery
from .reply import Reply, Unusable, read_json
from .requests import request
from .templates import Prompts

WORDS = (12, 200)  # the prompt asks for 25 to 120; allow some slack


class QueriesReply(BaseModel):
    """The answer. Its title goes into requests, and so into the keys of recorded answers."""

    model_config = ConfigDict(extra="forbid", title="queries")

    daily: str
    expert: str


async def write_queries(
    couple: Couple, config: SynthConfig, guidelines: Guidelines, prompts: Prompts, ask: Ask
) -> list[WrittenQuery]:
    """Have the generator write a couple's two queries.

    Args:
        couple: a seed, a persona, and the briefs.
        config: the generator.
        guidelines: what domains and difficulties mean.
        prompts: the wording.
        ask: gets answers.

    Returns:
        The daily-life query and the expert query.

    Raises:
        Dropped: no usable answer.
        Waiting: the answer has not arrived yet.
    """
    by = guidelines.by_name
    prompt = prompts.fill(
        "queries",
        seed=couple.seed.query,
        persona=couple.persona.text,
        daily_domain=couple.daily.domain,
        daily_about=by["domains"][couple.daily.domain].about,
        daily_difficulty_about=by["difficulties"][couple.daily.difficulty].about,
        expert_domain=couple.expert.domain,
        expert_about=by["domains"][couple.expert.domain].about,
        expert_difficulty_about=by["difficulties"][couple.expert.difficulty].about,
    )
    body = request(config.generator, prompt, shape=QueriesReply)
    found, key = await settle(ask, config.generator, body, _read, prompts, attempts=config.attempts)
    kinds: tuple[Kind, Kind] = ("daily", "expert")
    return [
        WrittenQuery(
            id=f"{couple.id}-{kind}",
            kind=kind,
            domain=brief.domain,
            difficulty=brief.difficulty,
            text=text,
            seed=couple.seed.id,
            persona=couple.persona.id,
            negatives=negatives,
            documents=documents,
            request=key,
        )
        for kind, brief, text, negatives, documents in zip(
            kinds,
            (couple.daily, couple.expert),
            (found.daily, found.expert),
            couple.negatives,
            couple.documents,
            strict=True,
        )
    ]


def _read(reply: Reply) -> QueriesReply:
    found = read_json(reply, QueriesReply)
    found = QueriesReply(daily=" ".join(found.daily.split()), expert=" ".join(found.expert.split()))
    for kind, text in (("daily", found.daily), ("expert", found.expert)):
        words = len(text.split())
        if not WORDS[0] <= words <= WORDS[1]:
            raise Unusable(f"a query of the wrong length ({kind}: {words} words)")
    if found.daily == found.expert:
        raise Unusable("two identical queries")
    return found
