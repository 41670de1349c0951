"""Requests: the formats of Cohere, Jina, and text-embeddings-inference, turned into pairs to judge."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from limrank_ir.errors import InputError
from limrank_ir.formats.pairs import CheckedPair
from limrank_ir.formats.records import TEXT
from limrank_ir.ranking.windows import Windows

_ASK_FOR_TEXT = f"give a string, or an object with {', '.join(TEXT[:-1])} or {TEXT[-1]}"

# In JSON: an escaped backslash, a surrogate pair, or half of a pair.
_SURROGATES = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_HALF_LENGTH = len(r"\ud83d")

Shape = TypeVar("Shape", bound="Rerank")


def _query_text(query: Any) -> Any:
    """The text of a query, which may be an object, as for Jina's multimodal models."""
    return query["text"] if isinstance(query, dict) and "text" in query else query


def _not_empty(query: str) -> str:
    if not query.strip():
        raise PydanticCustomError("empty", "is empty; give some text")
    return query


Query = Annotated[str, BeforeValidator(_query_text), AfterValidator(_not_empty)]
Documents = Annotated[list[str | dict[str, Any]], Field(fail_fast=True, min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Rerank(BaseModel):
    """A request in the format of Cohere and Jina; unknown fields have no effect."""

    query: Query = Field(description="The query.")
    documents: Documents = Field(
        description=f"Strings, or objects with one of {', '.join(TEXT)}, and optionally a title."
    )
    model: str | None = Field(default=None, description="Ignored: the server has one model.")
    top_n: Count | None = Field(default=None, description="How many results to return; by default all.")
    top_k: Count | None = Field(default=None, description="Another name for top_n.")
    return_documents: bool | None = Field(default=False, description="Whether to return the documents.")
    rank_fields: Annotated[list[str], Field(fail_fast=True, max_length=100)] | None = Field(
        default=None, description="Which fields of the objects to read, joined by a space in this order."
    )
    instruction: str | None = Field(default=None, description="What counts as relevant, in your own words.")
    explain: bool | None = Field(
        default=False, description="Adds log_odds and reasoning to each result; with a ranker, what its score is."
    )
    ranker: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Asks in another way, such as setwise:top=5; documents then come best first."
    )
    set_formats: Annotated[list[str], Field(fail_fast=True, max_length=10)] | None = Field(
        default=None, description="With a ranker: the formats of its questions, such as setwise-numbers."
    )

    @model_validator(mode="after")
    def _one_count(self) -> Rerank:
        if self.top_n and self.top_k and self.top_n != self.top_k:
            raise PydanticCustomError("two_counts", "top_n and top_k are the same option and differ; give one")
        return self

    @property
    def items(self) -> Sequence[str | dict[str, Any]]:
        """The documents, whatever the format calls them."""
        return self.documents

    @property
    def limit(self) -> int | None:
        """The number of results to return, or None for all."""
        return self.top_n or self.top_k


class RerankTexts(Rerank):
    """A request in that format, or in text-embeddings-inference's, with `texts` instead of `documents`."""

    documents: Documents | None = Field(  # type: ignore[assignment]
        default=None, description=Rerank.model_fields["documents"].description
    )
    texts: Annotated[list[str], Field(fail_fast=True, min_length=1)] | None = Field(
        default=None, description="Strings; the response is then a plain list, as in text-embeddings-inference."
    )
    raw_scores: bool | None = Field(default=False, description="With texts: scores are log-odds, not P(true).")
    return_text: bool | None = Field(default=False, description="With texts: whether to return the texts.")

    @model_validator(mode="after")
    def _one_list(self) -> RerankTexts:
        if (self.documents is None) == (self.texts is None):
            raise PydanticCustomError("one_list", "give either documents, or texts as text-embeddings-inference does")
        return self

    @property
    def items(self) -> Sequence[str | dict[str, Any]]:
        """The documents, whatever the format calls them."""
        return self.documents or self.texts or []


def read(
    body: bytes | bytearray, shape: type[Shape], documents: int, windows: Windows | None = None
) -> tuple[Shape, list[list[CheckedPair]]]:
    """Read a request.

    Args:
        body: the JSON.
        shape: its format.
        documents: the maximum number of documents.
        windows: how to split long documents, or None.

    Returns:
        The request, and for each document the pairs to judge: one, or one per window.

    Raises:
        InputError: the body is not JSON in UTF-8, does not have this format, or has too many documents.
    """
    try:
        request = shape.model_validate_json(_json(body))
    except ValidationError as error:
        raise InputError(f"invalid request: {_first_fault(error)}") from error
    if len(request.items) > documents:
        raise InputError(f"{len(request.items)} documents, more than {documents}; send them in several requests")
    pairs: list[list[CheckedPair]] = []
    for index, document in enumerate(request.items):
        title, text = _title_and_text(index, document, request.rank_fields)
        parts = [" ".join(filter(None, (title, text)))] if windows is None else windows.split(text, title)
        pairs.append([(request.query, part, request.instruction) for part in parts])
    return request, pairs


def _json(body: bytes | bytearray) -> str:
    """The body as text. Half of a surrogate pair, which no text may contain, becomes U+FFFD."""
    try:
        text = body.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"invalid request: byte {error.start} is not UTF-8; send JSON in UTF-8") from None
    if not text.strip():
        raise InputError("invalid request: the body is empty; send JSON")
    return _SURROGATES.sub(lambda match: r"\ufffd" if len(match[0]) == _HALF_LENGTH else match[0], text)


def _first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False)[0]
    where, message = first["loc"], first["msg"]
    if len(where) > 1 and where[0] in ("documents", "texts"):
        where = where[:2]
        wanted = "give a string" if where[0] == "texts" else _ASK_FOR_TEXT
        message = f"is {_kind(first['input'])}; {wanted}"
    return ": ".join([".".join(map(str, where)), message] if where else [message])


def _title_and_text(index: int, document: str | dict[str, Any], fields: Sequence[str] | None) -> tuple[str, str]:
    """The title, which may be empty, and the text of a document."""
    if isinstance(document, str):
        return "", document
    present = {name: value for name, value in document.items() if value is not None}
    if fields:
        names = [name for name in fields if name in present]
        missing = f"has none of the rank_fields {', '.join(fields)}"
    else:
        texts = sorted((name for name in TEXT if name in present), key=lambda name: present[name] == "")  # empty last
        names = [name for name in ("title", *texts[:1]) if name in present] if texts else []
        missing = f"has no text; {_ASK_FOR_TEXT}, or name its fields in rank_fields"
    if not names:
        raise InputError(f"invalid request: documents.{index}: {missing}")
    for name in names:
        if not isinstance(present[name], str):
            kind = _kind(present[name])
            raise InputError(f"invalid request: documents.{index}: its {name} is {kind}; give a string")
    if fields or names[0] != "title":
        return "", " ".join(present[name] for name in names if present[name])
    return present["title"], present[names[1]]


def _kind(value: Any) -> str:
    """The kind of a JSON value, for an error message."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return {int: "a number", float: "a number", list: "a list", dict: "an object"}.get(type(value), "not a string")
