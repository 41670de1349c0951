"""What an answer says: its text, its thought, and whether it is usable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from limrank_ir.llm.answers import Fault, completion, replace_half_surrogates

from .wording import refuses

T = TypeVar("T", bound=BaseModel)
FILTERED = "withheld by the server's filter"
REFUSED = "refused"
_FENCE = re.compile(r"```\w*\s(.*)```", re.DOTALL)
_THOUGHT = re.compile(r"^\s*(?:<think>)?(.*?)</think>", re.DOTALL)  # the chat template may have opened it in the prompt
_ENDINGS = {"filtered": FILTERED, "refused": REFUSED, "cut": "cut at the length limit"}


class Unusable(Exception):
    """An answer that cannot be used. The message tells the model why, and the report counts it."""


class Reply(BaseModel):
    """A usable answer.

    Attributes:
        text: the text without the thought.
        thought: what the server returns apart from the text (`limrank_ir.llm.answers`), or what is in think tags.
    """

    text: str
    thought: str | None


def read_reply(answer: Mapping[str, Any]) -> Reply:
    """Read an answer.

    Args:
        answer: the saved answer.

    Raises:
        Unusable: it is refused, by the server's mark or in words (`REFUSED`), cut, empty, or only a thought, or is not
            an answer.
    """
    try:
        found = completion(answer)
    except Fault as error:  # an older version saved it
        raise Unusable(f"no answer ({error})") from error
    if found.ending:
        raise Unusable(_ENDINGS[found.ending])
    text, thought = found.text, found.thought
    if (inner := _THOUGHT.match(text)) is not None:
        thought, text = thought or inner[1], text[inner.end() :]
    elif text.lstrip().startswith("<think>"):
        raise Unusable("a thought without an end")
    if not text.strip():
        raise Unusable("empty")
    if refuses(text):
        raise Unusable(REFUSED)
    return Reply(text=text.strip(), thought=thought.strip() if thought and thought.strip() else None)


def said(answer: Mapping[str, Any]) -> str:
    """The whole text of an answer, to show to its model again; "" if there is none."""
    try:
        return completion(answer).text
    except Fault:
        return ""


def read_json(reply: Reply, shape: type[T]) -> T:
    """Read a JSON answer.

    Args:
        reply: the answer. A code fence and any text around the fence are ignored.
        shape: the shape of the JSON.

    Raises:
        Unusable: it is not JSON, or has another shape.
    """
    text = reply.text
    if not text.startswith(("{", "[")) and (fenced := _FENCE.search(text)) is not None:
        text = fenced[1]
    try:
        found = json.loads(text)
        return shape.model_validate(json.loads(replace_half_surrogates(json.dumps(found, ensure_ascii=False))))
    except json.JSONDecodeError as error:
        raise Unusable(f"not JSON ({error.msg})") from error
    except RecursionError as error:
        raise Unusable("not JSON (nested too deep)") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Unusable(f"JSON in the wrong shape ({where}: {first['msg']})") from error


def schema(shape: type[BaseModel]) -> dict[str, Any]:
    """The ``response_format`` for servers that enforce a shape, without our docstrings and titles."""
    found = shape.model_json_schema()
    name = found["title"]
    found = {key: value for key, value in found.items() if key not in ("title", "description")}
    found["properties"] = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in found["properties"].items()
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": found}}
