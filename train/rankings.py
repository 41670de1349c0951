"""Rows of whole rankings (listwise, setwise): a prompt with several passages, and an answer that ranks them.

The layout is Alpaca's, ``{instruction, input?, output, license?}``; the prompt is the instruction, a line feed, and the
input. Each passage starts on a new line of the prompt with its identifier, ``[1]``. A listwise answer names each
identifier once, ``[2] > [1] > [3]``; a setwise answer names one, ``[2]``. A thought, ``<think>...</think>``, may come
before the answer. With the layout "answers", prompts and answers may be anything.
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
from limrank_ir.workshop.contamination import Benchmarks

from .config import Data, DataSource
from .excluded import find_in_prompt, held_back_queries
from .mixture import check_license, random_for, sample_size
from .rows import license_of, need_text


class RankingExample(NamedTuple):
    """A prompt with several passages and the response that ranks them.

    Attributes:
        place: file and line, for error messages.
        prompt: the prompt.
        response: the answer, after the thought if there is one.
    """

    place: str
    prompt: str
    response: str


_SHOWN = re.compile(r"^[ \t]*\[(\d+)\]", re.MULTILINE)
_ANSWER = re.compile(r"(?:\s*<think>.*</think>)?\s*(?P<order>\[\d+\](?:\s*>\s*\[\d+\])*)\s*", re.DOTALL)


def read_rankings(data: Data, seed: int) -> tuple[list[RankingExample], str]:
    """Draw the examples of a run.

    Args:
        data: the mixture; its layout is ``"listwise"``, ``"setwise"``, or ``"answers"``.
        seed: the run's seed.

    Returns:
        (the examples, shuffled; SHA-256 of their texts in order).

    Raises:
        InputError: a source cannot be read or is too small, a row is not openly licensed, or an answer does not
            fit its prompt; the message names file and line.
    """
    held_back = held_back_queries(data.exclude_topics)
    examples = [example for source in data.sources for example in _drawn(source, data, held_back, seed)]
    random.Random(seed).shuffle(examples)
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps([example.prompt, example.response]).encode())
    return examples, digest.hexdigest()


def excluded_rankings(source: DataSource, data: Data) -> list[tuple[str, str]]:
    """The prompts of a source that are not used because they contain a query of `Data.exclude_topics`.

    Args:
        source: the source.
        data: the mixture.

    Returns:
        (prompt, benchmark's query) for each row.

    Raises:
        InputError: a file cannot be read, or an answer does not fit its prompt.
    """
    held_back = held_back_queries(data.exclude_topics)
    prompts = (_checked(place, record, data.layout).prompt for place, record in json_records(source.path))
    found = ((prompt, find_in_prompt(held_back, prompt)) for prompt in prompts)
    return [(prompt, theirs) for prompt, theirs in found if theirs is not None]


def _drawn(source: DataSource, data: Data, held_back: Benchmarks, seed: int) -> list[RankingExample]:
    examples = []
    for place, record in json_records(source.path):
        example = _checked(place, record, data.layout)
        if data.open_licenses_only and record.keys() & {"licence", "license"}:
            check_license(license_of(place, record), f"{place}: the row")
        if find_in_prompt(held_back, example.prompt) is None:
            examples.append(example)
    random_for(source, data, seed).shuffle(examples)
    return examples[: sample_size(source, data, len(examples))]


def _checked(place: str, record: Mapping[str, Any], layout: str) -> RankingExample:
    """The example in a row; the answer must fit the prompt."""
    instruction, response = need_text(place, record, "instruction"), need_text(place, record, "output")
    given = need_text(place, record, "input") if record.get("input") else ""
    prompt = f"{instruction}\n{given}" if given else instruction
    if layout == "answers":
        return RankingExample(place, prompt, response)
    shown = _SHOWN.findall(prompt)
    if len(shown) < 2 or len(set(shown)) < len(shown):
        found = ", ".join(f"[{number}]" for number in shown) or "none"
        raise InputError(
            f"{place}: the prompt must have two or more passages, each on a line that starts with a different "
            f"identifier, such as [1] (found: {found})"
        )
    answer = _ANSWER.fullmatch(response)
    order = re.findall(r"\d+", answer["order"]) if answer else []
    if layout == "setwise" and (len(order) != 1 or order[0] not in shown):
        raise InputError(
            f"{place}: the answer ends in {response[-40:]!r}; a setwise answer must be one of the prompt's "
            f"identifiers, such as [{shown[0]}]"
        )
    if layout == "listwise" and sorted(order) != sorted(shown):
        raise InputError(
            f"{place}: the answer ends in {response[-40:]!r}; a listwise answer must name each of the prompt's "
            f"{len(shown)} identifiers once, such as [2] > [1] > [3]"
        )
    return RankingExample(place, prompt, response)
