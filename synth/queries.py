"""From couples to queries: a daily-life and an expert query for each seed and persona."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from .ask import Ask, settle
from .config import SynthConfig
from .guidelines import Form, Guidelines
from .records import Brief, Couple, Kind, WrittenQuery
from .reply import Reply, Unusable, read_json
from .requests import request
from .templates import Prompts
from .wording import refuses, straight, talk

EXCLUDES = re.compile(
    r"\b(?:not?|non|without|except|excluding|other than|instead of|rather than|nor|neither|never|avoid\w*|besides|minus"
    r"|cannot|\w+n't)\b|\w-free\b",
    re.IGNORECASE,
)
"""Words by which a query rules something out."""


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
    briefs: tuple[tuple[Kind, Brief], ...] = (("daily", couple.daily), ("expert", couple.expert))
    values = {f"{kind}_{name}": value for kind, brief in briefs for name, value in _values(brief, guidelines).items()}
    prompt = prompts.fill("queries", seed=couple.seed.query, persona=couple.persona.text, **values)

    def read(reply: Reply) -> QueriesReply:
        found = read_json(reply, QueriesReply)
        found = QueriesReply(daily=" ".join(found.daily.split()), expert=" ".join(found.expert.split()))
        for kind, brief in briefs:
            if fault := _fault(getattr(found, kind), brief, guidelines):
                raise Unusable(f"{fault}; the {kind} query")
        if found.daily == found.expert:
            raise Unusable("two identical queries")
        return found

    body = request(config.generator, prompt, shape=QueriesReply)
    found, key = await settle(ask, config.generator, body, read, prompts, attempts=config.attempts)
    return [
        WrittenQuery(
            id=f"{couple.id}-{kind}",
            kind=kind,
            brief=brief,
            text=getattr(found, kind),
            seed=couple.seed.id,
            persona=couple.persona.id,
            request=key,
        )
        for kind, brief in briefs
    ]


def rules_out(brief: Brief, guidelines: Guidelines) -> bool:
    """Whether a query has to rule something out: one of its negatives is what it rules out."""
    return any(guidelines.made(kind) == "tempting" for kind in brief.negatives)


def _values(brief: Brief, guidelines: Guidelines) -> dict[str, str]:
    by, form = guidelines.by_name, guidelines.by_name["forms"][brief.form]
    return {
        "domain": brief.domain,
        "about": by["domains"][brief.domain].about,
        "difficulty_about": by["difficulties"][brief.difficulty].about,
        "form_about": form.about,
        "words": f"{form.words[0]} to {form.words[1]}",
        "rules_out": "yes" if rules_out(brief, guidelines) else "no",
    }


def _fault(text: str, brief: Brief, guidelines: Guidelines) -> str | None:
    form: Form = guidelines.by_name["forms"][brief.form]
    words = len(text.split())
    if refuses(text) or talk(text):
        return talk(text) or "a refusal in place of a query"
    if not form.words[0] <= words <= form.words[1]:
        return f"a query of the wrong length ({words} words, not {form.words[0]} to {form.words[1]})"
    if form.question is not None and text.endswith("?") is not form.question:
        return f"a query of the wrong form ({form.about})"
    if rules_out(brief, guidelines) and EXCLUDES.search(straight(text)) is None:
        return "a query that rules nothing out"
    return None
