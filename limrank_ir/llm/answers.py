"""Answers of chat servers: which of them can be kept, and what one says, in whatever shape its server gives it.

Servers and the gateways in front of them differ: text comes as a string or in parts, thoughts in four places, a fault
with the status 200. All of that is decided here, for answers of a server, of a batch file and of an old journal alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

FILTERS = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
"""Codes of errors by which a server's filter refuses a request."""

_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")  # DeepSeek, vLLM; OpenRouter; Ollama
_TEXTS = ("text", "content", "thinking", "reasoning", "summary")  # where a part of a text holds it
_ENOUGH = 300  # characters of what a server says
_KEY = re.compile(r"\bsk-[\w-]{4,}")  # some servers repeat the key that they refuse


class Fault(Exception):
    """An answer that is no completion; the message says why.

    Attributes:
        status: the HTTP status of the fault, also where it came in an answer with the status 200; None: nobody said.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Completion:
    """What an answer says.

    Attributes:
        text: its text, without half surrogates, which no file can store; "" where it says nothing.
        thought: what is apart from the text, or None.
        ending: ``"refused"`` by the model, ``"filtered"`` by the server, ``"cut"`` at the limit of tokens, or ``""``.
    """

    text: str
    thought: str | None = None
    ending: Literal["", "refused", "filtered", "cut"] = ""


class Usage(NamedTuple):
    """Tokens of an answer: of the prompt, of the response with its thought, and how many of the prompt were cached.

    `known` tells whether the answer says so; else they count 0, and what it cost is not known.
    """

    prompt: int
    response: int
    cached: int
    known: bool


def kept(answer: object, status: object = 200) -> dict[str, Any]:
    """What is worth keeping of an answer.

    Args:
        answer: the body of a response, out of JSON; text if it is no JSON.
        status: of HTTP.

    Returns:
        The answer as it is; where the server's filter refuses the request, ``{"refused": why}``.

    Raises:
        Fault: it is no completion: asked again, the server may do better.
    """
    stated = status if isinstance(status, int) and status >= 400 else None
    if stated or _error(answer):
        reason, code = _said(answer)
        if code in FILTERS:
            return {"refused": reason}
        stated = stated or _status(code)
        raise Fault(f"{reason} (status {stated})" if stated else reason, stated)
    completion(answer)
    assert isinstance(answer, dict)
    return answer


def completion(answer: object) -> Completion:
    """Read an answer.

    Args:
        answer: what `kept` returned; or anything else, such as what an older version kept.

    Raises:
        Fault: it is no completion.
    """
    if not isinstance(answer, Mapping):
        raise Fault("an answer that is no JSON object")
    if "refused" in answer:
        return Completion("", ending="filtered")
    if _error(answer):
        raise Fault(f"an error in place of an answer: {_said(answer)[0]}")
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        raise Fault("an answer without choices")
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise Fault("an answer without a message")
    content = message.get("content")
    if not isinstance(content, (str, list, Mapping, type(None))):
        raise Fault(f"an answer whose content is {type(content).__name__}, not text")
    parts = content if isinstance(content, list) else [content]
    inner = [part for part in parts if _kind(part) in ("thinking", "reasoning")]
    text = "".join(_text(part) for part in parts if _kind(part) not in ("thinking", "reasoning", "refusal"))
    thoughts = [*(_text(message.get(name)) for name in _THOUGHTS), "".join(map(_text, inner))]
    ending: Literal["", "refused", "filtered", "cut"] = ""
    if message.get("refusal") or choice.get("finish_reason") == "content_filter" or "refusal" in map(_kind, parts):
        ending = "refused"
    elif choice.get("finish_reason") in ("length", "max_tokens"):
        ending = "cut"
    return Completion(text, next((thought for thought in thoughts if thought.strip()), None), ending)


def usable(answer: object) -> bool:
    """Whether an answer is a completion, if only a refusal; an older version kept others, too."""
    try:
        completion(answer)
    except Fault:
        return False
    return True


def whole(text: str) -> str:
    """A text whose half surrogates, which no file can store, are U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def usage(answer: Mapping[str, Any]) -> Usage:
    """The tokens that an answer says it took."""
    found = _mapping(answer.get("usage"))
    prompt, response = _count(found.get("prompt_tokens")), _count(found.get("completion_tokens"))
    cached = _count(_mapping(found.get("prompt_tokens_details")).get("cached_tokens"))
    cached = cached or _count(found.get("prompt_cache_hit_tokens")) or 0
    known = None not in (prompt, response) or not answer.get("choices")  # a refusal takes none
    return Usage(prompt or 0, response or 0, min(cached, prompt or 0), known)


def _error(answer: object) -> object:
    """The error that stands in an answer, or in its first choice, as of OpenRouter; None: there is none."""
    if not isinstance(answer, Mapping):
        return None
    choices = answer.get("choices")
    choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
    stands = choice.get("error") or (choice.get("finish_reason") == "error" and "finish_reason: error")
    return answer.get("error") or stands or None


def _said(answer: object) -> tuple[str, object]:
    """A server's own words for an error, in one line, and its code."""
    error = _error(answer) or answer
    if not isinstance(error, Mapping):
        return _line(error), None
    inner = _mapping(error.get("innererror")).get("code")
    code = next((each for each in (inner, error.get("code"), error.get("type")) if each in FILTERS), error.get("code"))
    return _line(error.get("message") or error.get("detail") or (code if isinstance(code, str) else None)), code


def _line(words: object) -> str:
    said = _KEY.sub("sk-...", " ".join(whole(str(words or "")).split()))[:_ENOUGH]
    return said or "an error without a reason"


def _status(code: object) -> int | None:
    """The HTTP status that an error's code is, if it is one."""
    number = _count(code)
    return number if number is not None and 400 <= number < 600 else None


def _kind(part: object) -> str:
    return str(part.get("type", "")) if isinstance(part, Mapping) else ""


def _text(value: object, depth: int = 8) -> str:
    """The text of a string, of an object with a text, or of a list of either."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list) and depth:
        return "".join(_text(each, depth - 1) for each in value)
    if isinstance(value, Mapping) and depth:
        return next((text for name in _TEXTS if (text := _text(value.get(name), depth - 1))), "")
    return ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int | None:
    """A whole number from 0, also one that is written as text; None: it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None
