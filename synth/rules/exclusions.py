"""Exclusions: a query that says what it does not want, a passage about just that, and one that is about the rest."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from limrank_ir.workshop.words import words

from .names import mentions
from .rows import Row, Source

RULE = "exclusion"
NOT = (
    "Passages about {x} are not relevant.",
    "Leave out everything about {x}.",
    "Not about {x}.",
    "Anything but {x}.",
    "I am not interested in {x}.",
    "Exclude {x}.",
)
BUT = ("{query}, but not about {x}", "{query} (not {x})", "{query}, excluding {x}", "{query}, leaving {x} aside")
ASPECT = re.compile(
    r"what (?:are|is) the (?P<aspect>symptoms|treatments|outlook|stages|complications|genetic changes)"
    r"(?: related to)? (?:of|for|to)?\s*(?P<subject>.+?)\s*\?",
    re.IGNORECASE,
)
SUBJECT = ("What do I have to know about {x}?", "Tell me about {x}.", "Information on {x}", "What is known about {x}?")
ASPECTS = {
    "outlook": ("the outlook", "outlook|prognos|surviv"),
    "genetic changes": ("its genetic changes", "gene|mutation|inherit"),
    "symptoms": ("its symptoms", "symptom|sign"),
    "treatments": ("its treatment", "treat|therap|manage"),
    "stages": ("its stages", "stage"),
    "complications": ("its complications", "complicat"),
}
"""An aspect to how it is called in an exclusion, and what a passage about something else must not contain."""

LONG = 40
"""Longer queries mention many things in passing; none of them is a topic of its own."""

RARE = 0.05
"""What is excluded is in at most this share of a source's passages, so that it is a topic and not a common word."""

_NAME = re.compile(r"(?<=[\w,] )[A-Z][\w'\u2019-]*\w(?: (?:(?:of|de|the) )?[A-Z][\w'\u2019-]*\w)*")
_YES_NO = re.compile(r"(?:do|does|did|is|are|was|were|can|could|will|would|should|has|have|had|may)\b", re.IGNORECASE)


def exclusions(source: Source, seed: int) -> Iterator[dict[str, Any]]:
    """Make at most one row per row of a source, from a query's own positives, or from another question on its subject.

    Args:
        source: the source.
        seed: what chooses the excluded topic and its wording.
    """
    frequency = Counter(word for text in source.passages for word in set(words(text)))
    common = max(2, RARE * len(source.passages))
    subjects: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for row in source.rows:
        if match := ASPECT.fullmatch(row.query.strip()):
            subjects[match["subject"].lower()].append((match["aspect"].lower(), row))
    for row in source.rows:
        rng = row.random(seed)
        if own := list(_of_own_positives(row, frequency, common)):
            topic, positive, tempting = rng.choice(own)
            yield _written(row, "a name", row.query, topic, positive, tempting, rng)
        elif related := list(_of_its_subject(row, subjects)):
            subject, topic, positive, tempting = rng.choice(related)
            bare = replace(row, instruction=None, neg=())  # its negatives may be about the subject
            yield _written(bare, "an aspect", rng.choice(SUBJECT).format(x=subject), topic, positive, tempting, rng)


def _of_own_positives(
    row: Row, frequency: Mapping[str, int], common: float
) -> Iterator[tuple[str, list[str], list[str]]]:
    question = row.query.split(" Answer:")[0]
    if len(question.split()) > LONG or len(row.pos) < 2:
        return
    for topic in dict.fromkeys(_NAME.findall(question)):
        parts = [part.lower() for part in topic.split() if len(part) > 3] or [topic.lower()]
        if not all(0 < frequency[part] <= common for part in words(" ".join(parts))):
            continue
        about = [text for text in row.pos if mentions(text, topic)]
        rest = [text for text in row.pos if not any(part[:4] in text.lower() for part in parts)]
        if about and rest:
            yield topic, rest, about


def _of_its_subject(
    row: Row, subjects: dict[str, list[tuple[str, Row]]]
) -> Iterator[tuple[str, str, list[str], list[str]]]:
    match = ASPECT.fullmatch(row.query.strip())
    if match is None:
        return
    aspect, subject = match["aspect"].lower(), match["subject"]
    for other, its in subjects[subject.lower()]:
        name, telling = ASPECTS[other]
        if other != aspect and not any(re.search(telling, text, re.IGNORECASE) for text in row.pos):
            yield subject, name, list(row.pos), list(its.pos)


def _written(
    row: Row, kind: str, query: str, topic: str, positive: list[str], tempting: list[str], rng: random.Random
) -> dict[str, Any]:
    """The row, with the exclusion in the instruction or in the query."""
    if rng.random() < 0.5 or _YES_NO.match(query):
        no = rng.choice(NOT).format(x=topic)
        changes = {"query": query, "instruction": f"{row.instruction} {no}" if row.instruction else no}
    else:
        asks = query.endswith("?")
        changes = {"query": rng.choice(BUT).format(query=query.rstrip(" ?."), x=topic) + ("?" if asks else "")}
    others = [text for text in row.neg if text not in positive and not mentions(text, topic)][:1]
    return row.made(RULE, f"of {kind}", positive[:2], [*tempting[:2], *others], **changes)
