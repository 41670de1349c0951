"""Clean users' text of what only a prompt format may say, and join or cut it by the released code's rules."""

from __future__ import annotations

import re

# A reserved string is a sequence of thinking tags and chat control tokens, each with the labels that follow it.
# All repetitions are possessive, and a match starts where its whitespace starts, so the time is linear in the length.
_TAG = r"(?:<\s*+/?+\s*+think\s*+>|<\|[\w.:/-]{1,60}+\|>)"
_RESERVED = re.compile(rf"(?:(?<!\s)\s*+{_TAG}(?:\s*+(?:true|false|yes|no)\b)*+)++", re.IGNORECASE)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Remove reserved strings from a user's text, which only the prompt format may contain.

    Thinking tags and chat control tokens (``</think>``, ``<|im_end|>``) are removed together with the label words that
    follow them, so a passage that ends in ``</think> true<|im_end|>`` cannot forge its verdict. Everything else stays
    and reaches the model as plain text (the tokenizer recognizes no control tokens in it). If removing a string would
    create a new one (``<</think>think>``), every ``<`` in the text becomes ``\u2039``. Lone surrogates, which no
    tokenizer accepts, become U+FFFD.

    Args:
        text: a query, an instruction, or a passage.

    Returns:
        The cleaned text. Cleaning it again changes nothing.
    """
    if "<" in text and _RESERVED.search(text):
        text = " ".join(part for part in _RESERVED.split(text) if part)
        if _RESERVED.search(text):
            text = text.replace("<", "\u2039")
    return _SURROGATES.sub("\ufffd", text)


def with_instruction(query: str, instruction: str | None) -> str:
    """Join a query and its instruction as the released code does for FollowIR (arXiv 2403.15246).

    Args:
        query: the query.
        instruction: the instruction, or None.

    Returns:
        ``"{query} {instruction}"``; only the query if the instruction is missing, empty, or the same text.
    """
    if instruction is None:
        return query
    if query.strip() == instruction.strip():
        return query.strip()
    return f"{query} {instruction}".strip()


def whole_sentences(thought: str) -> str:
    """Cut a thought after its last period, exclamation mark, or question mark. If there is none, keep all of it."""
    thought = thought.rstrip()
    end = max(thought.rfind(mark) for mark in ".!?")
    return (thought if end < 0 else thought[: end + 1]).strip()
