"""What clients ask: the shapes of Cohere, Jina and text-embeddings-inference, read into pairs to judge."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from limrank_ir.errors import InputError
from limrank_ir.formats.pairs import Pair
from limrank_ir.formats.records import TEXT
from limrank_ir.ranking.windows import Windows

_ASK_FOR_TEXT = f"give a text, or an object with {', '.join(TEXT[:-1])} or {TEXT[-1]}"

# In JSON: an escaped backslash, a character written as two halves, or half a character.
_HALVES = re.compile(r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_HALF = len(r"\ud83d")

Shape = TypeVar("Shape", bound="Rerank")


def _plain(query: Any) -> Any:
    """A query that is an object, as Jina's multimodal models take it, as a text."""
    return query["text"] if isinstance(query, dict) and "text" in query else query


def _said(query: str) -> str:
    if not query.strip():
        raise PydanticCustomError("empty", "is empty; give a text")
    return query


Query = Annotated[str, BeforeValidator(_plain), AfterValidator(_said)]
Documents = Annotated[list[str | dict[str, Any]], Field(fail_fast=True, min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Rerank(BaseModel):
    """A request of Cohere's and Jina's shapes; fields of other servers' models have no effect."""

    query: Query = Field(description="What is looked for.")
    documents: Documents = Field(
        description=f"The texts, or objects with one of {', '.join(TEXT)}, and perhaps a title."
    )
    model: str | None = Field(default=None, description="Has no effect: the server has one model.")
    top_n: Count | None = Field(default=None, description="How many results to return; all without it.")
    top_k: Count | None = Field(default=None, description="Another name of top_n.")
    return_documents: bool | None = Field(default=False, description="Whether the results hold the documents.")
    rank_fields: Annotated[list[str], Field(fail_fast=True, max_length=100)] | None = Field(
        default=None, description="The fields of objects that are read, joined by a blank, in this order."
    )
    instruction: str | None = Field(default=None, description="What counts as relevant, in your own words.")
    explain: bool | None = Field(default=False, description="Adds log_odds and reasoning to each result.")

    @model_validator(mode="after")
    def _one_count(self) -> Rerank:
        if self.top_n and self.top_k and self.top_n != self.top_k:
            raise PydanticCustomError("two_counts", "top_n and top_k are the same option and differ; give one")
        return self

    @property
    def given(self) -> Sequence[str | dict[str, Any]]:
        """The documents, whatever the shape calls them."""
        return self.documents

    @property
    def most(self) -> int | None:
        """How many results are wanted, or None for all."""
        return self.top_n or self.top_k


class RerankTexts(Rerank):
    """A request of the shape above, or text-embeddings-inference's, with `texts` in place of `documents`."""

    documents: Documents | None = Field(  # type: ignore[assignment]
        default=None, description=Rerank.model_fields["documents"].description
    )
    texts: Annotated[list[str], Field(fail_fast=True, min_length=1)] | None = Field(
        default=None, description="The texts; the answer is then text-embeddings-inference's bare list."
    )
    raw_scores: bool | None = Field(default=False, description="With texts: log-odds for scores, not P(true).")
    return_text: bool | None = Field(default=False, description="With texts: whether the results hold the texts.")

    @model_validator(mode="after")
    def _one_list(self) -> RerankTexts:
        if (self.documents is None) == (self.texts is None):
            raise PydanticCustomError("one_list", "give either documents, or texts as text-embeddings-inference does")
        return self

    @property
    def given(self) -> Sequence[str | dict[str, Any]]:
        """The documents, whatever the shape calls them."""
        return self.documents or self.texts or []


def read(
    body: bytes | bytearray, shape: type[Shape], documents: int, windows: Windows | None = None
) -> tuple[Shape, list[list[Pair]]]:
    """Read a request.

    Args:
        body: the JSON as it came.
        shape: what it should look like.
        documents: the most documents that it may have.
        windows: how long documents are split, or None.

    Returns:
        The request, and for each document the pairs to judge: one, or those of its windows.

    Raises:
        InputError: the body is not JSON in UTF-8, is not of that shape, or has too many documents.
    """
    try:
        asked = shape.model_validate_json(_json(body))
    except ValidationError as error:
        raise InputError(f"invalid request: {_line(error)}") from error
    if len(asked.given) > documents:
        raise InputError(f"{len(asked.given)} documents, more than {documents}; send them in several requests")
    found: list[list[Pair]] = []
    for place, document in enumerate(asked.given):
        title, text = _title_and_text(place, document, asked.rank_fields)
        parts = [" ".join(filter(None, (title, text)))] if windows is None else windows.split(text, title)
        found.append([(asked.query, part, asked.instruction) for part in parts])
    return asked, found


def _json(body: bytes | bytearray) -> str:
    """The body as text. Half a character of UTF-16 in it, which no text may hold, becomes U+FFFD."""
    try:
        text = body.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"invalid request: byte {error.start} is not UTF-8; send JSON in UTF-8") from None
    if not text.strip():
        raise InputError("invalid request: the body is empty; send JSON")
    return _HALVES.sub(lambda found: r"\ufffd" if len(found[0]) == _HALF else found[0], text)


def _line(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False)[0]
    where, message = first["loc"], first["msg"]
    if len(where) > 1 and where[0] in ("documents", "texts"):
        where = where[:2]
        message = f"is {_kind(first['input'])}; {'give a text' if where[0] == 'texts' else _ASK_FOR_TEXT}"
    return ": ".join([".".join(map(str, where)), message] if where else [message])


def _title_and_text(place: int, document: str | dict[str, Any], fields: Sequence[str] | None) -> tuple[str, str]:
    """What the model reads of a document; the title may be empty."""
    if isinstance(document, str):
        return "", document
    given = {name: value for name, value in document.items() if value is not None}
    if fields:
        names = [name for name in fields if name in given]
        missing = f"has none of the rank_fields {', '.join(fields)}"
    else:
        texts = sorted((name for name in TEXT if name in given), key=lambda name: given[name] == "")
        names = [name for name in ("title", *texts[:1]) if name in given] if texts else []
        missing = f"has no text; {_ASK_FOR_TEXT}, or name its fields in rank_fields"
    if not names:
        raise InputError(f"invalid request: documents.{place}: {missing}")
    for name in names:
        if not isinstance(given[name], str):
            kind = _kind(given[name])
            raise InputError(f"invalid request: documents.{place}: its {name} is {kind}; give a text")
    if fields or names[0] != "title":
        return "", " ".join(given[name] for name in names if given[name])
    return given["title"], given[names[1]]


def _kind(value: Any) -> str:
    """What a value of JSON is called."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return {int: "a number", float: "a number", list: "a list", dict: "an object"}.get(type(value), "no text")
