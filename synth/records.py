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
    """What kind of query to write, by names from `limrank_ir.synth.guidelines`."""

    domain: str
    difficulty: str


class Couple(Record):
    """A seed and a persona that were drawn together, and what to write for them."""

    id: str
    seed: Seed
    persona: Persona
    daily: Brief
    expert: Brief
    negatives: tuple[tuple[str, ...], tuple[str, ...]]
    """The kinds of negatives for the daily and for the expert query."""
    documents: tuple[tuple[str, ...], tuple[str, ...]]
    """The document types of each query's passages, the positive first."""


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
    """What a passage has to say. `kind` is ``"positive"`` or a kind of negative."""

    kind: str
    text: str


class Outline(Record):
    """A query, the reasoning about it, and the descriptions of its passages, the positive first."""

    query: WrittenQuery
    thought: str
    descriptions: tuple[Description, ...]
    request: str


class WrittenPassage(Record):
    """A passage that a model wrote."""

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
    """One judgment of a pair."""

    label: bool
    reasoning: str
    request: str


class JudgedPair(Record):
    """A query and a passage with their judgments."""

    query: WrittenQuery
    passage: WrittenPassage
    judgments: tuple[Judgment, ...]
    label: bool
    """The final label. Until the filters have looked at the judgments, it is the intended one."""

    @property
    def id(self) -> str:
        """The passage's id: a passage belongs to one query."""
        return self.passage.id
