"""Answers of chat servers: checking and reading them, whatever format the server uses.

Servers and their gateways differ: text comes as a string or in parts, reasoning in four different fields, and errors
sometimes with status 200. This module handles all of that, for answers from servers, batch files, and old journals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

FILTERS = (
    *("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"),
    *("invalid_prompt", "data_inspection_failed", "Content Exists Risk"),  # OpenAI's reasoning models, Qwen, DeepSeek
)
"""Error codes, or DeepSeek's whole message, that say that the server's content filter refused a request."""

_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")  # DeepSeek, vLLM; OpenRouter; Ollama
_TEXTS = ("text", "content", "thinking", "reasoning", "summary")  # the fields with the text of a part
_MAX_MESSAGE = 300  # characters of an error message from a server
_KEY = re.compile(r"\bsk-[\w-]{4,}")  # some servers repeat a refused key in the message


class Fault(Exception):
    """An answer that is not a completion; the message says why.

    Attributes:
        status: the HTTP status of the fault, even if the answer itself had status 200; None if unknown.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Completion:
    """The content of an answer.

    Attributes:
        text: its text, without half surrogate pairs, which UTF-8 cannot store; may be empty.
        thought: the reasoning, if it is separate from the text, or None.
        ending: ``"refused"`` by the model, ``"filtered"`` by the server, ``"cut"`` at the token limit, or ``""``.
    """

    text: str
    thought: str | None = None
    ending: Literal["", "refused", "filtered", "cut"] = ""


class Usage(NamedTuple):
    """The tokens of an answer: in the prompt, in the response with its reasoning, and cached prompt tokens.

    If the answer does not say, `known` is False, the missing counts are 0, and the cost is unknown.
    """

    prompt: int
    response: int
    cached: int
    known: bool


def check_answer(answer: object, status: object = 200) -> dict[str, Any]:
    """Check that an answer is a completion, and return what to store.

    Args:
        answer: the parsed JSON body of a response, or its text if it is not JSON.
        status: the HTTP status.

    Returns:
        The answer, unchanged; or ``{"refused": reason}`` if the server's content filter refused the request.

    Raises:
        Fault: it is not a completion; a retry may succeed.
    """
    fault_status = status if isinstance(status, int) and status >= 400 else None
    if fault_status or _error(answer):
        reason, code = _reason_and_code(answer)
        if code in FILTERS or reason in FILTERS:
            return {"refused": reason}
        fault_status = fault_status or _status(code)
        raise Fault(f"{reason} (status {fault_status})" if fault_status else reason, fault_status)
    completion(answer)
    assert isinstance(answer, dict)
    return answer


def completion(answer: object) -> Completion:
    """Read an answer.

    Args:
        answer: the result of `check_answer`, or anything else, such as what an older version stored.

    Returns:
        Its content.

    Raises:
        Fault: it is not a completion.
    """
    if not isinstance(answer, Mapping):
        raise Fault("an answer that is not a JSON object")
    if "refused" in answer:
        return Completion("", ending="filtered")
    if _error(answer):
        raise Fault(f"an error instead of an answer: {_reason_and_code(answer)[0]}")
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
    thinking = [part for part in parts if _kind(part) in ("thinking", "reasoning")]
    text = "".join(_text(part) for part in parts if _kind(part) not in ("thinking", "reasoning", "refusal"))
    thoughts = [*(_text(message.get(name)) for name in _THOUGHTS), "".join(map(_text, thinking))]
    ending: Literal["", "refused", "filtered", "cut"] = ""
    if message.get("refusal") or choice.get("finish_reason") == "content_filter" or "refusal" in map(_kind, parts):
        ending = "refused"
    elif choice.get("finish_reason") in ("length", "max_tokens"):
        ending = "cut"
    return Completion(text, next((thought for thought in thoughts if thought.strip()), None), ending)


def usable(answer: object) -> bool:
    """Whether an answer is a completion or a refusal. Older versions also stored other answers."""
    try:
        completion(answer)
    except Fault:
        return False
    return True


def replace_half_surrogates(text: str) -> str:
    """Replace half surrogate pairs, which UTF-8 cannot store, with U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def usage(answer: Mapping[str, Any]) -> Usage:
    """The token counts that an answer states."""
    found = _mapping(answer.get("usage"))
    prompt, response = _count(found.get("prompt_tokens")), _count(found.get("completion_tokens"))
    cached = _count(_mapping(found.get("prompt_tokens_details")).get("cached_tokens"))
    cached = cached or _count(found.get("prompt_cache_hit_tokens")) or 0
    known = None not in (prompt, response) or not answer.get("choices")  # a refusal uses none
    return Usage(prompt or 0, response or 0, min(cached, prompt or 0), known)


def _error(answer: object) -> object:
    """The error in an answer, or in its first choice (as OpenRouter does), or None."""
    if not isinstance(answer, Mapping):
        return None
    choices = answer.get("choices")
    choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
    error = answer.get("error") or choice.get("error")
    if not error and choice.get("finish_reason") == "error":
        return "finish_reason: error"
    return error or None


def _reason_and_code(answer: object) -> tuple[str, object]:
    """The server's error message in one line, and the error code."""
    error = _error(answer) or answer
    if not isinstance(error, Mapping):
        return _line(error), None
    inner = _mapping(error.get("innererror")).get("code")
    code = next((each for each in (inner, error.get("code"), error.get("type")) if each in FILTERS), error.get("code"))
    message = error.get("message") or error.get("detail")
    if not message and isinstance(code, str):
        message = code
    return _line(message), code


def _line(message: object) -> str:
    line = " ".join(replace_half_surrogates(str(message or "")).split())
    return _KEY.sub("sk-...", line)[:_MAX_MESSAGE] or "an error without a reason"


def _status(code: object) -> int | None:
    """The error code as an HTTP status, if it is one."""
    number = _count(code)
    return number if number is not None and 400 <= number < 600 else None


def _kind(part: object) -> str:
    return str(part.get("type", "")) if isinstance(part, Mapping) else ""


def _text(value: object, depth: int = 8) -> str:
    """The text of a string, an object with text, or a list of them."""
    if isinstance(value, str):
        return replace_half_surrogates(value)
    if isinstance(value, list) and depth:
        return "".join(_text(each, depth - 1) for each in value)
    if isinstance(value, Mapping) and depth:
        for name in _TEXTS:
            if text := _text(value.get(name), depth - 1):
                return text
    return ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int | None:
    """A non-negative whole number, which may be written as text; otherwise None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None
