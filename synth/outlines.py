"""From queries to outlines: a long thought about the query, what a passage must supply, and what each passage says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from .ask import Ask, settle
from .config import SynthConfig
from .guidelines import Guidelines
from .records import Outline, PassagePlan, WrittenQuery
from .reply import Reply, Unusable, read_json
from .requests import request
from .templates import Prompts
from .wording import refuses, straight, talk
from .words import words

LEAST_THOUGHT = 60  # words; the prompt asks for at least 150
CONTENT = (25, 60)
"""How many words a content has. Answers may miss this by 40%."""
RATIO = 1.7
"""How many times as long as the shortest content of a query the longest may be. Else length gives the label away."""
EDIT = 10
"""How many words of the positive's content its minimal pair may replace. The prompt asks for at most 6."""
_SAY = r"(?:mention|say|state|explain|cover|address|answer|discuss|tell|specify|describe|deal with|include|name)"
MISSING = re.compile(
    rf"\b(?:do|does|did)(?: not|n't) (?:\w+ )?{_SAY}\b|\bnever (?:mention|say|state|explain|name|answer)(?:s|ed)?\b"
    r"|\bwithout (?:\w+ )?(?:mention|say|stat|explain|cover|address|answer|discuss|specify|describ|nam)ing\b"
    r"|\bno mention of\b|\bleav(?:es|ing) (?:out|open)\b|\bomit(?:s|ting)?\b|\bfails to\b|\bsilent (?:on|about)\b"
    r"|\b(?:only|merely|just) (?:mentions|explains|covers|describes)\b|\bnothing (?:is said )?about\b"
    r"|\b(?:wrongly|incorrectly|mistakenly|falsely) (?:says|states|claims|gives|asserts)\b"
    r"|\b(?:this|the) (?:passage|text|query|question|reader|asker)\b",
    re.IGNORECASE,
)
"""Wording that says what a passage lacks, which only the content of a negative would have."""


class NegativeReply(BaseModel):
    """A negative in the answer."""

    model_config = ConfigDict(extra="forbid")

    content: str
    flaw: str


class OutlineReply(BaseModel):
    """The answer. Its title goes into requests, and so into the keys of recorded answers."""

    model_config = ConfigDict(extra="forbid", title="plan")

    thought: str
    need: str
    positive: str
    negatives: list[NegativeReply]


async def write_outline(
    query: WrittenQuery, config: SynthConfig, guidelines: Guidelines, prompts: Prompts, ask: Ask
) -> Outline:
    """Have the generator think about a query and plan its passages, all but the borrowed ones.

    Args:
        query: the query, with the kinds of its negatives.
        config: the generator.
        guidelines: what kinds and difficulties mean.
        prompts: the wording.
        ask: gets answers.

    Returns:
        The outline. Its passages are the positive, then the negatives in the order of the query.

    Raises:
        Dropped: no usable answer.
        Waiting: the answer has not arrived yet.
    """
    brief, by = query.brief, guidelines.by_name
    kinds = [kind for kind in brief.negatives if guidelines.made(kind) != "borrowed"]
    documents = brief.documents[1 : len(kinds) + 1]
    prompt = prompts.fill(
        "outline",
        query=query.text,
        relation=by["difficulties"][brief.difficulty].relation,
        least=CONTENT[0],
        most=CONTENT[1],
        document=brief.documents[0],
        count=len(kinds),
        negatives="\n".join(
            f"  {number}. {kind}, from this kind of text: {document}. {by['negatives'][kind].about}"
            for number, (kind, document) in enumerate(zip(kinds, documents, strict=True), 1)
        ),
        slots=", ".join(['{"content": "...", "flaw": "..."}'] * len(kinds)),
    )

    def read(reply: Reply) -> OutlineReply:
        found = read_json(reply, OutlineReply)
        if len(found.negatives) != len(kinds):
            raise Unusable(f"the wrong number of negatives ({len(found.negatives)}, not {len(kinds)})")
        if len(found.thought.split()) < LEAST_THOUGHT:
            raise Unusable("the thought is too short")
        if not all(text.strip() for text in (found.need, *(each.flaw for each in found.negatives))):
            raise Unusable("an empty need or flaw")
        edited = [guidelines.made(kind) == "edited" for kind in kinds]
        contents = [found.positive, *(each.content for each in found.negatives)]
        if fault := _fault(contents, edited):
            raise Unusable(fault)
        return found

    body = request(config.generator, prompt, shape=OutlineReply)
    found, key = await settle(ask, config.generator, body, read, prompts, attempts=config.attempts)
    planned = [PassagePlan(kind="positive", document=brief.documents[0], content=found.positive.strip())]
    planned += [
        PassagePlan(kind=kind, document=document, content=each.content.strip(), flaw=each.flaw.strip())
        for kind, document, each in zip(kinds, documents, found.negatives, strict=True)
    ]
    return Outline(
        query=query, thought=found.thought.strip(), need=found.need.strip(), passages=tuple(planned), request=key
    )


def _fault(contents: Sequence[str], edited: Sequence[bool]) -> str | None:
    """What is wrong with the contents: the positive's, then the negatives', some of them edits of the positive's."""
    lengths = [len(text.split()) for text in contents]
    least, most = round(CONTENT[0] * 0.6), round(CONTENT[1] * 1.4)
    for text, length in zip(contents, lengths, strict=True):
        if refuses(text) or talk(text):
            return talk(text) or "a refusal in place of a content"
        if not least <= length <= most:
            return f"a content of the wrong length ({length} words, not {CONTENT[0]} to {CONTENT[1]})"
        if (found := MISSING.search(straight(text))) is not None:
            return f"a content that says what is missing, or speaks of its passage ({found[0]!r})"
    if max(lengths) > RATIO * min(lengths):
        return f"contents of unequal length ({min(lengths)} to {max(lengths)} words)"
    for text, is_edit in zip(contents[1:], edited, strict=True):
        if is_edit and not 0 < _replaced(contents[0], text) <= EDIT:
            return "a minimal pair that does not change one fact of the positive's content"
    return None


def _replaced(text: str, other: str) -> int:
    """How many words one has to replace to turn a text into another."""
    old, new = words(text), words(other)
    changes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return sum(max(end - start, last - first) for tag, start, end, first, last in changes if tag != "equal")
