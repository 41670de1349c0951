"""Wording that shows that a text is not what was asked for: refusals, and talk around an answer."""

from __future__ import annotations

import re

_CANNOT = r"(?:ca(?:n'?t|nnot|n not)|won'?t|will not|(?:am |'m )?(?:un|not )able to|not comfortable|must decline)"
_WORK = (
    r"(?:help|assist|write|provide|create|comply|fulfill|generate|produce|complete|continue|engage|share"
    r"|(?:do|answer) (?:that|this)|judge|support|discuss|offer)"
)
_REFUSAL = re.compile(
    r"^\W*(?:(?:i'?m|i am|we'?re) (?:\w+ )?(?:sorry|afraid)|sorry|(?:my )?apologies|i apologi[sz]e|unfortunately)\b"
    rf"[^.!?\n]{{0,60}}\bi(?:'m| am)? {_CANNOT}\b[^.!?\n]{{0,20}}\b{_WORK}\b"
    rf"|^\W*i(?:'m| am)? (?:\w+ )?{_CANNOT} {_WORK}\b[^.!?\n]{{0,60}}\b(?:request|that|this|passage|text|content)\b"
    rf"|^\W*as an? (?:ai|(?:large )?language model)\b[^.!?\n]{{0,80}}\b{_CANNOT}\b",
    re.IGNORECASE,
)
_PRODUCT = (
    r"(?:passage|text|draft|version|excerpt|paragraph|answer|response|quer(?:y|ies)|json|outline|reasoning|judgment"
    r"|revision|rewrite|sample|piece)"
)
_YES = r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|understood|got it|gladly|no problem)"
_AROUND = {
    "talk before the text": re.compile(
        rf"^\W*(?:{_YES}[!,.:]*\s+)?(?:here(?:'s| is| are)|below is|the following is|this is) "
        rf"(?:the|a|an|your|my|one|another)\b[^.!?\n]{{0,60}}\b{_PRODUCT}\b[^.!?\n]{{0,60}}(?::|\n)"
        r"|^\W*(?:sure|certainly)!"
        rf"|^\W*{_YES}[!,.]\s+(?:i'll|i will|let me) (?:write|draft|provide|give|reason|think)\b"
        rf"|^\W*(?:{_PRODUCT}|final answer|title|headline|heading|subject)\W{{0,3}}:\W*\s"
        r"|^#{1,6} \S|^\*\*[^*\n]{1,100}\*\*[ \t]*\n",
        re.IGNORECASE,
    ),
    "talk after the text": re.compile(
        r"(?:^|(?<=[.!?)\]\n*_-])\s*)(?:please )?(?:let me know (?:if|whether) (?:you|this|that|it|any|there|i)\b"
        r"|(?:would you like|if you(?:'d| would) like,?|should you want) (?:me|any changes|another version|i)\b"
        r"|feel free to (?:let me know|request|adjust|ask (?:for|me))\b"
        rf"|i hope this (?:{_PRODUCT}|meets|works for)\b)[^\n]{{0,160}}$",
        re.IGNORECASE,
    ),
    "a count of its words": re.compile(
        r"\bword count\W{0,6}\d+(?: words)?\W*$|[(\[](?:about |approximately |approx\. |~)?\d+ words[)\]]\W*$",
        re.IGNORECASE,
    ),
    "wording that gives it away": re.compile(
        r"(?:^|[.!?]\s+)as an? (?:ai(?: language model| assistant)?|(?:large )?language model),"
        r"|\bi(?: am|'m) (?:just |only )?an? (?:ai(?: language model)?|(?:large )?language model)"
        r"(?=[,.;]| and\b| so\b| but\b)",
        re.IGNORECASE,
    ),
}
_FENCED = re.compile(r"\A```\w*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)


def refuses(text: str) -> bool:
    """Whether a text begins with a refusal to do what was asked, such as "I'm sorry, but I can't help with that"."""
    return _REFUSAL.search(straight(text[:300])) is not None


def talk(text: str) -> str | None:
    """Name talk around an answer, which a model says to its user: "Here is a draft:", "Word count: 120".

    Args:
        text: a text that should be free of it.

    Returns:
        What it is, with the words that show it; None: there is none.
    """
    for name, pattern in _AROUND.items():
        if (found := pattern.search(straight(text).strip())) is not None:
            return f"{name} ({' '.join(found[0].split())[:60]!r})"
    return None


def unfenced(text: str) -> str:
    """Remove a Markdown code fence around the whole of a text."""
    found = _FENCED.match(text.strip())
    return found[1].strip() if found is not None and "```" not in found[1] else text


def straight(text: str) -> str:
    """Replace curly apostrophes by straight ones, which patterns look for."""
    return text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
