"""What an answer says: its text, its thought, and whether it can be used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

T = TypeVar("T", bound=BaseModel)
FILTERED = "kept back by the server's filter"
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
_THOUGHT = re.compile(r"^\s*<think>(.*?)</think>", re.DOTALL)


class Unusable(Exception):
    """An answer that does not do; the message tells the model why, and counts it in the report."""


class Reply(BaseModel):
    """A usable answer.

    Attributes:
        text: what it says, without the thought.
        thought: ``reasoning_content`` (DeepSeek, vLLM), ``reasoning`` (OpenRouter), or what stands in think tags.
    """

    text: str
    thought: str | None


def read_reply(answer: Mapping[str, Any]) -> Reply:
    """Read an answer.

    Args:
        answer: as the server wrote it.

    Raises:
        Unusable: it was refused, cut, or is empty.
    """
    if "refused" in answer:
        raise Unusable(FILTERED)
    try:
        choice = answer["choices"][0]
        message = choice["message"]
    except (KeyError, IndexError, TypeError) as error:
        raise Unusable("no answer") from error
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        raise Unusable("refused")
    if choice.get("finish_reason") == "length":
        raise Unusable("cut at the length limit")
    text = message.get("content") or ""
    thought = message.get("reasoning_content") or message.get("reasoning")
    if (found := _THOUGHT.match(text)) is not None:
        thought, text = thought or found[1], text[found.end() :]
    if not text.strip():
        raise Unusable("empty")
    return Reply(text=text.strip(), thought=thought.strip() if thought and thought.strip() else None)


def read_json(reply: Reply, shape: type[T]) -> T:
    """Read an answer that must be JSON.

    Args:
        reply: the answer; a code fence around it does not matter.
        shape: what it must hold.

    Raises:
        Unusable: it is no JSON, or not of that shape.
    """
    text = reply.text
    if (found := _FENCE.match(text)) is not None:
        text = found[1]
    try:
        return shape.model_validate(json.loads(text))
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
    found = {key: value for key, value in found.items() if key not in ("title", "description")}
    found["properties"] = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in found["properties"].items()
    }
    return {"type": "json_schema", "json_schema": {"name": shape.__name__.lower(), "strict": True, "schema": found}}
