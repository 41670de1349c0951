"""What an answer says: its text, its thought, and whether it can be used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from limrank_ir.llm.answers import Fault, completion, replace_half_surrogates

T = TypeVar("T", bound=BaseModel)
FILTERED = "kept back by the server's filter"
_FENCE = re.compile(r"```\w*\s(.*)```", re.DOTALL)
_THOUGHT = re.compile(r"^\s*(?:<think>)?(.*?)</think>", re.DOTALL)  # a template may have opened it in the prompt
_ENDINGS = {"filtered": FILTERED, "refused": "refused", "cut": "cut at the length limit"}


class Unusable(Exception):
    """An answer that does not do; the message tells the model why, and counts it in the report."""


class Reply(BaseModel):
    """A usable answer.

    Attributes:
        text: what it says, without the thought.
        thought: what the server gives apart from the text (`limrank_ir.llm.answers`), or what stands in think tags.
    """

    text: str
    thought: str | None


def read_reply(answer: Mapping[str, Any]) -> Reply:
    """Read an answer.

    Args:
        answer: what was kept of it.

    Raises:
        Unusable: it was refused, cut, is empty, or is none.
    """
    try:
        found = completion(answer)
    except Fault as error:  # an older version kept it
        raise Unusable(f"no answer ({error})") from error
    if found.ending:
        raise Unusable(_ENDINGS[found.ending])
    text, thought = found.text, found.thought
    if (inner := _THOUGHT.match(text)) is not None:
        thought, text = thought or inner[1], text[inner.end() :]
    if not text.strip():
        raise Unusable("empty")
    return Reply(text=text.strip(), thought=thought.strip() if thought and thought.strip() else None)


def said(answer: Mapping[str, Any]) -> str:
    """All that an answer says, as its model meets it again; "" where it says nothing."""
    try:
        return completion(answer).text
    except Fault:
        return ""


def read_json(reply: Reply, shape: type[T]) -> T:
    """Read an answer that must be JSON.

    Args:
        reply: the answer; a code fence around it, and what is said in front of the fence or behind, do not matter.
        shape: what it must hold.

    Raises:
        Unusable: it is no JSON, or not of that shape.
    """
    text = reply.text
    if not text.startswith(("{", "[")) and (fenced := _FENCE.search(text)) is not None:
        text = fenced[1]
    try:
        found = json.loads(text)
        return shape.model_validate(json.loads(replace_half_surrogates(json.dumps(found, ensure_ascii=False))))
    except json.JSONDecodeError as error:
        raise Unusable(f"no JSON ({error.msg})") from error
    except (ValidationError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise Unusable("no JSON (nested too deep)") from error
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Unusable(f"JSON of another shape ({where}: {first['msg']})") from error


def schema(shape: type[BaseModel]) -> dict[str, Any]:
    """The shape for servers that keep to one (``response_format``); our own words for it are left out."""
    found = shape.model_json_schema()
    name = found["title"]
    found = {key: value for key, value in found.items() if key not in ("title", "description")}
    found["properties"] = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in found["properties"].items()
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": found}}
