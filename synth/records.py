"""What the stages hand on: immutable records, each with the journal keys of the answers that it was made from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["daily", "expert"]
AlpacaRow = dict[str, str]
"""A training row with the columns `instruction`, `input` and `output`."""


class Record(BaseModel):
    """A frozen value without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Seed(Record):
    """A simple query to start from."""

    id: str
    query: str


class Persona(Record):
    """A person, described in a sentence or two, with a `domain` if the file names one."""

    id: str
    text: str
    domain: str | None = None


class Brief(Record):
    """What kind of query to write, by names from `limrank_ir.synth.guidelines`.

    Attributes:
        domain: its domain.
        difficulty: how far it is from its answer.
        form: its form and length.
        negatives: the kinds of its negatives. If one of them is tempting, the query rules something out.
        documents: the document types of its passages, the positive first.
    """

    domain: str
    difficulty: str
    form: str
    negatives: tuple[str, ...]
    documents: tuple[str, ...]


class Couple(Record):
    """A seed and a persona that were drawn together, and what to write for them."""

    id: str
    seed: Seed
    persona: Persona
    daily: Brief
    expert: Brief


class WrittenQuery(Record):
    """A query that a model wrote."""

    id: str
    kind: Kind
    brief: Brief
    text: str
    seed: str
    persona: str
    request: str


class PassagePlan(Record):
    """A passage to write.

    Attributes:
        kind: ``"positive"`` or a kind of negative.
        document: the type of document that it is from.
        content: the facts that it states. Its writer gets nothing else.
        flaw: why it does not help with the query, for the record; None for a positive.
    """

    kind: str
    document: str
    content: str
    flaw: str | None = None


class Outline(Record):
    """A query, the reasoning about it, what a passage must supply, and the passages to write, the positive first."""

    query: WrittenQuery
    thought: str
    need: str
    passages: tuple[PassagePlan, ...]
    request: str


class WrittenPassage(Record):
    """A passage for a query. `source` is the passage that it is borrowed from, another query's positive."""

    id: str
    query: str
    kind: str
    text: str
    content: str | None = None
    flaw: str | None = None
    document: str | None = None
    source: str | None = None
    request: str | None = None

    @property
    def intended(self) -> bool:
        """The label that it was written for."""
        return self.kind == "positive"


class Judgment(Record):
    """One judgment of a pair."""

    label: bool
    reasoning: str
    request: str


class JudgedPair(Record):
    """A query and a passage with their judgments. `need` is what the judges were told that the query needs."""

    query: WrittenQuery
    need: str
    passage: WrittenPassage
    judgments: tuple[Judgment, ...]
    label: bool
    """The final label. Until the filters have looked at the judgments, it is the intended one."""

    @property
    def id(self) -> str:
        """The passage's id: a passage belongs to one query."""
        return self.passage.id
