"""What a model has written: the order of a set, its best, or grades, and the rules by which answers are repaired.

1. Thought is not the answer. Only what follows the last ``</think>`` or ``</reason>`` counts, and nothing after another
   ``<think>`` or ``<reason>``; within that, only the last ``<answer>…</answer>``, if there is one. A thought that never
   ends leaves nothing.
2. An identifier is a number from 1, or a letter from A, in brackets: ``[2]``, ``[B]``. Where there are no brackets, an
   answer of nothing but identifiers of one kind counts (``2 > 1``, ``B``, ``Passage B``; also in lines that are
   numbered 1, 2, and so on), and, for the best of a set, ``Passage B`` in a sentence. Other numbers and letters in a
   sentence are words.
3. Identifiers joined by ``>`` or ``=`` are a chain. If some identifier is repeated and there are several chains, such
   as a draft, or an explanation of the ranking, the longest one counts; of equally long ones, the last.
4. Unknown identifiers are dropped, of repeated ones the first counts, and missing ones follow in their old order.
5. Tied passages (``[1] = [2]``, Rank-K) keep their old order.
6. The best of a set is the first one of a chain or a list, the one with which a sentence begins, or the only one in it.
   A sentence that goes on about several is ambiguous.
7. An answer that names no known passage, or is ambiguous, has failed: it is None, and everything keeps its order.

Each thing that was dropped, added, or passed over is a repair. Rules 1, 4, and 5 are those of RankGPT (`github
sunnweiwei/RankGPT: rank_gpt.py`), ReasonRank and Rearank (``<answer>``), Rank-R1 (`github ielab/llm-rankers:
Rank-R1/run_setwise.py`), and Rank-K (`github hltcoe/rank-k: rerank.py`), except that RankGPT takes any number for an
identifier and Rank-K stops at a repeated one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from limrank_ir.rankers.asking import Answer
from limrank_ir.rankers.tally import Parsed

_THOUGHT_ENDS = re.compile(r"</(?:think|reason)\s*>", re.IGNORECASE)
_THOUGHT_BEGINS = re.compile(r"<(?:think|reason)\s*>", re.IGNORECASE)
_ANSWER_BEGINS = re.compile(r"<answer\s*>", re.IGNORECASE)
_ANSWER_ENDS = re.compile(r"</answer\s*>", re.IGNORECASE)
_BRACKETED = re.compile(r"\[\s*([0-9]{1,6}|[A-Za-z])\s*\]")
_BARE = re.compile(r"[0-9]{1,6}|[A-Z]")
_BETWEEN_BARE = re.compile(r"([>=])|[\s,;:.*]+")
_NAMED = re.compile(r"\b(?i:passage|document|doc)[\s:*\"'(]+([0-9]{1,6}|[A-Z])\b")
_ENUMERATED = re.compile(r"\s*([0-9]{1,6})[.):]\s+(?=\S)")
_NOUNS = frozenset({"passage", "document", "doc"})
_BEGINS = re.compile(rf"[\s*_(\"']*(?:{_NAMED.pattern}|(?i:passage|document|doc)?[\s:]*{_BRACKETED.pattern})")


@dataclass(frozen=True, slots=True)
class _Mention:
    """An identifier: its place in the set, which may not exist, what joins it to the one before, and its chain."""

    place: int
    joint: str
    chain: int


def answer_part(text: str) -> str:
    """The part of a text that is the answer, by rule 1."""
    text = _THOUGHT_BEGINS.split(_THOUGHT_ENDS.split(text)[-1])[0]
    return _ANSWER_ENDS.split(_ANSWER_BEGINS.split(text)[-1])[0].strip()


def place(identifier: str) -> int:
    """The place in a set, from 0, that an identifier stands for: ``"1"`` and ``"A"`` are the first."""
    return int(identifier) - 1 if identifier.isdigit() else ord(identifier.upper()) - ord("A")


def order(answer: Answer, count: int) -> Parsed[tuple[int, ...]] | None:
    """The order of a set.

    Args:
        answer: such as ``[2] > [1] = [3]``.
        count: the number of passages that were shown.

    Returns:
        All places in the set, from 0, best first; or None if the answer names none of them.

    Example:
        >>> order(Answer(text="<think>[3] first?</think> [2] > [9] > [2]"), 3)
        Parsed(value=(1, 0, 2), repairs=4)
    """
    mentions, skipped = _ranking(_mentions(answer_part(answer.text)), count)
    tiers: dict[int, int] = {}
    tier = dropped = 0
    for mention in mentions:
        tier += mention.joint != "="
        if mention.place in tiers or not 0 <= mention.place < count:
            dropped += 1
        else:
            tiers[mention.place] = tier
    if not tiers:
        return None
    best = sorted(tiers, key=lambda found: (tiers[found], found))
    missing = [found for found in range(count) if found not in tiers]
    return Parsed((*best, *missing), skipped + dropped + len(missing))


def best(answer: Answer, count: int) -> Parsed[int] | None:
    """The best of a set.

    Args:
        answer: such as ``[2]``, ``B``, or ``Passage B``.
        count: the number of passages that were shown.

    Returns:
        Its place in the set, from 0; or None if the answer names none, or several without saying which.

    Example:
        >>> best(Answer(text="<think>[1]? No.</think><answer>[2]</answer>"), 3)
        Parsed(value=1, repairs=0)
    """
    text = answer_part(answer.text)
    found = _mentions(text) or [_Mention(place(match[1]), "", 0) for match in _NAMED.finditer(text)]
    mentions, skipped = _ranking(found, count)
    known = [mention.place for mention in mentions if 0 <= mention.place < count]
    others = len(set(known)) - 1
    listed = any(mention.joint for mention in mentions) or bool(_bare(text)) or bool(_BEGINS.match(text))
    if not known or (others and not listed):
        return None
    return Parsed(known[0], skipped + len(mentions) - len(known) + others)


def _mentions(text: str) -> list[_Mention]:
    """The identifiers in a text, by rule 2."""
    matches = list(_BRACKETED.finditer(text))
    if not matches:
        return _bare(text)
    mentions: list[_Mention] = []
    end = chain = 0
    for match in matches:
        joint = text[end : match.start()].strip()
        joint = joint if mentions and joint in {">", "="} else ""
        chain += not joint
        mentions.append(_Mention(place(match[1]), joint, chain))
        end = match.end()
    return mentions


def _bare(text: str) -> list[_Mention]:
    mentions: list[_Mention] = []
    joint = ""
    pieces = [piece for piece in _BETWEEN_BARE.split(_without_enumeration(text)) if piece]
    if len({piece.isdigit() for piece in pieces if _BARE.fullmatch(piece)}) > 1:
        return []  # a list has one kind of identifier, so some of these are something else
    for piece in pieces:
        if piece in {">", "="}:
            joint = piece
        elif _BARE.fullmatch(piece):
            mentions.append(_Mention(place(piece), joint if mentions else "", 0))
            joint = ""
        elif piece.lower() not in _NOUNS:
            return []
    return mentions


def _without_enumeration(text: str) -> str:
    """A list without the numbers of its lines, 1 and up, which are not identifiers."""
    lines = text.splitlines()
    numbers = [_ENUMERATED.match(line) for line in lines]
    if len(lines) < 2 or [match and int(match[1]) for match in numbers] != list(range(1, len(lines) + 1)):
        return text
    return "\n".join(line[match.end() :] for line, match in zip(lines, numbers, strict=True) if match)


def _ranking(mentions: Sequence[_Mention], count: int) -> tuple[list[_Mention], int]:
    """The identifiers that are the ranking, by rule 3, and how many chains were passed over for it."""
    known = [mention.place for mention in mentions if 0 <= mention.place < count]
    chains = [chain for chain in _chains(mentions) if len(chain) > 1]
    if len(set(known)) == len(known) or len(chains) < 2:
        return list(mentions), 0
    sizes = [len({mention.place for mention in chain if 0 <= mention.place < count}) for chain in chains]
    longest = max(range(len(chains)), key=lambda number: (sizes[number], number))
    return chains[longest], len(chains) - 1


def _chains(mentions: Sequence[_Mention]) -> Iterator[list[_Mention]]:
    for _, chain in groupby(mentions, key=lambda mention: mention.chain):
        yield list(chain)
