"""Rows of whole rankings (listwise, setwise): a prompt that shows several passages, and an answer that orders them.

The layout is alpaca's, ``{instruction, input?, output, licence?}``: the prompt is instruction, line feed, input. Each
passage of the prompt begins a line with its identifier, ``[1]``. A listwise answer names every one of them once,
``[2] > [1] > [3]``; a setwise answer names one, ``[2]``. A thought, ``<think>...</think>``, may stand in front.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_records

from .config import Data, DataSource
from .mixture import check_license, generator, held_back_queries, normal, wanted
from .rows import license_of, need_text


class RankingExample(NamedTuple):
    """A prompt that shows several passages, and the response that ranks them.

    Attributes:
        place: file and line, for error messages.
        prompt: the prompt.
        response: the answer, with the thought in front of it if there is one.
    """

    place: str
    prompt: str
    response: str


_SHOWN = re.compile(r"^[ \t]*\[(\d+)\]", re.MULTILINE)
_ANSWER = re.compile(r"(?:\s*<think>.*</think>)?\s*(?P<order>\[\d+\](?:\s*>\s*\[\d+\])*)\s*", re.DOTALL)


def read_rankings(data: Data, seed: int) -> tuple[list[RankingExample], str]:
    """Draw the rows of a run.

    Args:
        data: the mixture; its layout is ``"listwise"`` or ``"setwise"``.
        seed: of all that is drawn.

    Returns:
        (the rows, shuffled; SHA-256 over their texts in order).

    Raises:
        InputError: a source cannot be read or is too small, a row is not openly licensed, or an answer does not
            fit its prompt; the message names file and line.
    """
    held_back = held_back_queries(data)
    rows = [row for source in data.sources for row in _drawn(source, data, held_back, seed)]
    random.Random(seed).shuffle(rows)
    digest = hashlib.sha256()
    for _, prompt, response in rows:
        digest.update(json.dumps([prompt, response]).encode())
    return rows, digest.hexdigest()


def _drawn(source: DataSource, data: Data, held_back: set[str], seed: int) -> list[RankingExample]:
    rows = []
    for place, record in json_records(source.path):
        row = _checked(place, record, data.layout)
        if data.open_licenses_only and record.keys() & {"licence", "license"}:
            check_license(license_of(place, record), f"{place}: the row")
        # The query stands somewhere in the prompt: a row that has a held-back one anywhere is left out.
        words = f" {normal(row.prompt)} "
        if not any(f" {query} " in words for query in held_back):
            rows.append(row)
    generator(source, data, seed).shuffle(rows)
    return rows[: wanted(source, data, len(rows))]


def _checked(place: str, record: Mapping[str, Any], layout: str) -> RankingExample:
    """A row whose answer fits its prompt."""
    instruction, response = need_text(place, record, "instruction"), need_text(place, record, "output")
    given = need_text(place, record, "input") if record.get("input") else ""
    prompt = f"{instruction}\n{given}" if given else instruction
    shown = _SHOWN.findall(prompt)
    if len(shown) < 2 or len(set(shown)) < len(shown):
        found = ", ".join(f"[{number}]" for number in shown) or "none"
        raise InputError(
            f"{place}: the prompt must show two or more passages, each on a line that begins with an identifier of its "
            f"own, such as [1] (found: {found})"
        )
    answer = _ANSWER.fullmatch(response)
    order = re.findall(r"\d+", answer["order"]) if answer else []
    if layout == "setwise" and (len(order) != 1 or order[0] not in shown):
        raise InputError(
            f"{place}: the answer ends in {response[-40:]!r}; a setwise answer is one of the prompt's identifiers, "
            f"such as [{shown[0]}]"
        )
    if layout == "listwise" and sorted(order) != sorted(shown):
        raise InputError(
            f"{place}: the answer ends in {response[-40:]!r}; a listwise answer names each of the prompt's "
            f"{len(shown)} identifiers once, such as [2] > [1] > [3]"
        )
    return RankingExample(place, prompt, response)
