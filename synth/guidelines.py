"""The guidelines as data: domains, difficulties, forms, negatives, and document types (``guidelines.yaml``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from limrank_ir.workshop.settings import read_yaml, validated

from .records import Persona, Record


def _range(words: tuple[int, int]) -> tuple[int, int]:
    if not 0 < words[0] <= words[1]:
        raise ValueError("write the smallest and the largest number of words, as in [8, 20]")
    return words


Words = Annotated[tuple[int, int], AfterValidator(_range)]
"""A smallest and a largest number of words."""


class Domain(Record):
    """A field of life or work. `words` match its personas; `daily` and `expert` say which queries it is for."""

    name: str = Field(min_length=1)
    share: float = Field(gt=0)
    about: str
    daily: bool
    expert: bool
    words: tuple[str, ...] = ()


class Difficulty(Record):
    """How far the query is from its answer.

    `relation` says what the positive passage does, and `trace` how many words its judgments reason.
    """

    name: str = Field(min_length=1)
    share: float = Field(gt=0)
    about: str
    relation: str
    trace: Words


class Form(Record):
    """A form of queries. `question` says whether they end in a question mark; None: as they like."""

    name: str = Field(min_length=1)
    share: float = Field(gt=0)
    about: str
    words: Words
    question: bool | None = None


class NegativeType(Record):
    """A way in which a passage on the same topic fails to help.

    `made` says where it comes from: the outline (``"planned"``), the positive's content with one fact changed
    (``"edited"``), something that the query rules out (``"tempting"``), or another query's positive (``"borrowed"``).
    """

    name: str = Field(min_length=1)
    share: float = Field(default=1, gt=0)
    about: str
    made: Literal["planned", "edited", "tempting", "borrowed"] = "planned"


class DocumentType(Record):
    """A type of document, its register, and how many words its passages have."""

    name: str = Field(min_length=1)
    register_: str = Field(alias="register")
    words: Words


class Guidelines(Record):
    """All guidelines. Names are unique within each list."""

    domains: tuple[Domain, ...] = Field(min_length=1)
    difficulties: tuple[Difficulty, ...] = Field(min_length=1)
    forms: tuple[Form, ...] = Field(min_length=1)
    negatives: tuple[NegativeType, ...] = Field(min_length=1)
    documents: tuple[DocumentType, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Guidelines:
        for listed in (self.domains, self.difficulties, self.forms, self.negatives, self.documents):
            names = [each.name for each in listed]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{sorted(twice)[0]!r} is listed twice")
        for kind in ("daily", "expert"):
            if not any(getattr(domain, kind) for domain in self.domains):
                raise ValueError(f"no domain is for {kind} queries")
        return self

    @cached_property
    def by_name(self) -> Mapping[str, Mapping[str, Any]]:
        """List name to entry name to entry."""
        lists = ("domains", "difficulties", "forms", "negatives", "documents")
        return {listed: {each.name: each for each in getattr(self, listed)} for listed in lists}

    def made(self, negative: str) -> str:
        """Where a kind of negative comes from; see `NegativeType`."""
        return str(self.by_name["negatives"][negative].made)

    def fields(self, persona: Persona) -> list[str]:
        """The domains in which a persona can ask as an expert: its own, or those that share a word with its text."""
        if persona.domain is not None:
            return [persona.domain]
        words = set(re.findall(r"[a-z]+", persona.text.lower()))
        words |= {word.removesuffix("s") for word in words}
        return [domain.name for domain in self.domains if domain.expert and words & set(domain.words)]


def read_guidelines(path: Path | None = None) -> Guidelines:
    """Read guidelines.

    Args:
        path: a YAML file in the layout of the package's ``guidelines.yaml``; None: that file.

    Raises:
        InputError: the file cannot be read or is invalid; the message says where.
    """
    place = path or Path(str(files(__package__) / "guidelines.yaml"))
    return validated(Guidelines, read_yaml(place), place)


def allot(count: int, shares: Iterable[tuple[str, float]]) -> dict[str, int]:
    """Divide a whole number in proportion to shares (largest remainders). The parts add up to it.

    Args:
        count: the number to divide.
        shares: names and relative shares.

    Returns:
        Name to part, in the given order.

    Example:
        >>> allot(10, [("a", 2), ("b", 1), ("c", 1)])
        {'a': 5, 'b': 3, 'c': 2}
    """
    listed = list(shares)
    total = sum(share for _, share in listed)
    exact = {name: count * share / total for name, share in listed}
    parts = {name: int(value) for name, value in exact.items()}
    left = count - sum(parts.values())
    order = {name: place for place, (name, _) in enumerate(listed)}
    for name in sorted(exact, key=lambda name: (parts[name] - exact[name], order[name]))[:left]:
        parts[name] += 1
    return parts
