"""What the stages pass on: immutable records, each with the journal keys of the answers that it was made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["daily", "expert"]
AlpacaRow = dict[str, str]
"""A training row with the columns `instruction`, `input` and `output`."""


class Record(BaseModel):
    """A value: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Seed(Record):
    """A simple query to start from."""

    id: str
    query: str


class Persona(Record):
    """A person in a sentence or two; `domain` where the file says it."""

    id: str
    text: str
    domain: str | None = None


class Brief(Record):
    """What a query shall be: names of `limrank_ir.synth.guidelines`."""

    domain: str
    difficulty: str


class Couple(Record):
    """A seed and a persona that were drawn together, and what is asked of them."""

    id: str
    seed: Seed
    persona: Persona
    daily: Brief
    expert: Brief
    negatives: tuple[tuple[str, ...], tuple[str, ...]]
    """Kinds of negatives of the daily and of the expert query."""
    documents: tuple[tuple[str, ...], tuple[str, ...]]
    """Types of document of each query's passages, the positive's first."""


class WrittenQuery(Record):
    """A query that a model wrote."""

    id: str
    kind: Kind
    domain: str
    difficulty: str
    text: str
    seed: str
    persona: str
    negatives: tuple[str, ...]
    documents: tuple[str, ...]
    request: str


class Description(Record):
    """What a passage shall say. `kind` is ``"positive"`` or a kind of negative."""

    kind: str
    text: str


class Outline(Record):
    """A query with the thought about it and what follows from that: descriptions, the positive's first."""

    query: WrittenQuery
    thought: str
    descriptions: tuple[Description, ...]
    request: str


class WrittenPassage(Record):
    """A passage that a model wrote, or that was mined from a corpus."""

    id: str
    query: str
    kind: str
    text: str
    description: str | None = None
    document: str | None = None
    request: str | None = None

    @property
    def intended(self) -> bool:
        """The label that it was written for."""
        return self.kind == "positive"


class Judgment(Record):
    """What a judge said once."""

    label: bool
    reasoning: str
    request: str


class JudgedPair(Record):
    """A query and a passage, judged."""

    query: WrittenQuery
    passage: WrittenPassage
    judgments: tuple[Judgment, ...]
    label: bool
    """The final label: the intended one until the filters have looked at the judgments."""
    grade: float | None = None
    """A soft label from 0 to 1, for mined passages."""

    @property
    def id(self) -> str:
        """The passage's: a passage belongs to one query."""
        return self.passage.id
