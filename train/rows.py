"""Training rows on disk and in memory.

A file is JSONL, plain or ``.gz``, or one JSON list of objects. There are three layouts, recognized by their columns:

- groups: ``{qid?, query, pos: [text...], neg: [text...], instruction?, reasoning?, grades?: [number...]}``;
  ``grades`` are soft labels from 0 to 1, first those of the positives, then those of the negatives.
- pairs: ``{qid?, query, passage, label: true|false, instruction?, reasoning?, grade?}``; pairs with the same qid (or,
  without qids, the same query) form a group.
- alpaca: ``{instruction, input, output}``, like the released LimRank and Rank1 rows: the prompt is the instruction, a
  line feed, and the input; the output is ``<think>...</think> true|false``.

`limrank_ir.train.rankings` reads rows of whole rankings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_records, json_text
from limrank_ir.prompts import RANK1

_PROMPT = re.compile(re.escape(RANK1.before).replace(r"\{query\}", "(.*?)") + "(.*)", re.DOTALL)
_OUTPUT = re.compile(r"\s*(?:<think>(?P<thought>.*)</think>)?\s*(?P<label>\S+)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage with its labels.

    Attributes:
        text: the passage.
        label: whether it is relevant.
        grade: soft label from 0 to 1, or None.
        reasoning: why it is or is not relevant, or None.
        teacher: the teacher's log-odds for it among its group, in a softmax, or None.
    """

    text: str
    label: bool
    grade: float | None = None
    reasoning: str | None = None
    teacher: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A query with its passages: one training example.

    Attributes:
        qid: the query's id in its source.
        query: the query.
        instruction: what counts as relevant, or None.
        candidates: the passages, positives first.
        license: the license that the row states, or None.
        source: the collection that the row names, or else the file's name.
        source_number: which of a run's sources it was drawn from (its place in `Data.sources`).
    """

    qid: str
    query: str
    instruction: str | None
    candidates: tuple[Candidate, ...]
    license: str | None = None
    source: str = ""
    source_number: int = field(default=0, compare=False)


def read_groups(path: Path) -> list[Group]:
    """Read training rows in any of the three layouts.

    Args:
        path: the file.

    Returns:
        The groups, in the order of the file.

    Raises:
        InputError: the file cannot be read, or a row is not valid; the message names file and line.
    """
    stream = json_records(path)
    place, first = next(stream)
    if "output" in first or "input" in first:
        parse = _from_alpaca
    elif "passage" in first or "label" in first:
        parse = _from_pair
    else:
        parse = _from_group
    groups = [parse(place, first), *(parse(place, record) for place, record in stream)]
    return _joined(groups) if parse is not _from_group else groups


def normalized(text: str) -> str:
    """The words of a text in lower case, for comparing queries."""
    return " ".join(re.findall(r"\w+", text.lower()))


def need_text(place: str, row: Mapping[str, Any], column: str) -> str:
    """The text in a column of a row.

    Args:
        place: file and line of the row, for the error message.
        row: the row.
        column: the name of the column.

    Returns:
        The text; it may be empty.

    Raises:
        InputError: the column is missing, or does not contain text.
    """
    text = json_text(place, row, (column,))
    if text is None:
        raise _missing(place, row, column)
    return text


def license_of(place: str, row: Mapping[str, Any]) -> str | None:
    """The license that a row states (``license``, or ``licence`` as in older rows), or None."""
    return _optional(place, row, "license") or _optional(place, row, "licence")


def _from_group(place: str, row: Mapping[str, Any]) -> Group:
    positives, negatives = _texts(place, row, "pos"), _texts(place, row, "neg")
    if not positives:
        raise InputError(f"{place}: 'pos' is empty; a group needs a relevant passage")
    grades = _grades(place, row, len(positives) + len(negatives))
    reasoning = _optional(place, row, "reasoning")
    candidates = [
        *(Candidate(text, True, grade, reasoning) for text, grade in zip(positives, grades, strict=False)),
        *(Candidate(text, False, grade) for text, grade in zip(negatives, grades[len(positives) :], strict=True)),
    ]
    return _group(place, row, need_text(place, row, "query"), candidates, _optional(place, row, "instruction"))


def _from_pair(place: str, row: Mapping[str, Any]) -> Group:
    query = need_text(place, row, "query")
    if "label" not in row:
        raise _missing(place, row, "label")
    label = _label(place, row["label"])
    grade = None if row.get("grade") is None else _grade(place, row["grade"])
    passage = _filled(place, need_text(place, row, "passage"), "passage")
    candidate = Candidate(passage, label, grade, _optional(place, row, "reasoning"))
    return _group(place, row, query, [candidate], _optional(place, row, "instruction"))


def _from_alpaca(place: str, row: Mapping[str, Any]) -> Group:
    instruction, given = need_text(place, row, "instruction"), need_text(place, row, "input")
    match = _PROMPT.fullmatch(f"{instruction}\n{given}")
    if match is None:
        raise InputError(
            f"{place}: instruction and input are not the rank1 prompt ('Query: ...', 'Passage: ...'); for rows of "
            "whole rankings, set data.layout"
        )
    answer = _OUTPUT.fullmatch(need_text(place, row, "output"))
    label = _label(place, answer["label"] if answer else row["output"])
    thought = answer["thought"].strip() if answer and answer["thought"] else None
    # Some rows leave out the line feed in front of <think>, which the wire format has.
    passage = _filled(place, match[2].removesuffix("\n"), "passage")
    candidate = Candidate(passage, label, None, thought or None)
    return _group(place, row, match[1], [candidate], None)


def _group(
    place: str, row: Mapping[str, Any], query: str, candidates: Sequence[Candidate], instruction: str | None
) -> Group:
    _filled(place, query, "query")
    source = _optional(place, row, "source") or place.split(":")[0].rsplit("/", 1)[-1]
    return Group(str(row.get("qid") or query), query, instruction, tuple(candidates), license_of(place, row), source)


def _joined(groups: list[Group]) -> list[Group]:
    """Join the pairs of a query into one group, positives first."""
    parts: dict[tuple[str, str, str | None], list[Group]] = {}
    for group in groups:
        parts.setdefault((group.qid, group.query, group.instruction), []).append(group)
    joined = []
    for same in parts.values():
        candidates = [candidate for group in same for candidate in group.candidates]
        terms = dict.fromkeys(group.license or "not stated" for group in same)
        joined.append(
            replace(
                same[0],
                candidates=tuple(sorted(candidates, key=lambda candidate: not candidate.label)),
                license="; ".join(terms),
            )
        )
    return joined


def _label(place: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise InputError(f"{place}: the label is {str(value)[-40:]!r}, neither true nor false; fix or remove this row")


def _grades(place: str, row: Mapping[str, Any], count: int) -> Sequence[float | None]:
    grades = row.get("grades")
    if grades is None:
        return [None] * count
    if not isinstance(grades, list) or len(grades) != count:
        raise InputError(f"{place}: 'grades' must be a list of {count} numbers, one for each passage")
    return [_grade(place, grade) for grade in grades]


def _grade(place: str, grade: object) -> float:
    if isinstance(grade, bool) or not isinstance(grade, (int, float)) or not 0 <= grade <= 1:
        raise InputError(f"{place}: the grade {grade!r} is not a number from 0 to 1")
    return float(grade)


def _texts(place: str, row: Mapping[str, Any], column: str) -> list[str]:
    if column not in row:
        raise _missing(place, row, column)
    value = row[column]
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise InputError(f"{place}: {column!r} must be a list of passages that are not empty")
    for text in value:
        json_text(place, {column: text}, (column,))
    return value


def _optional(place: str, row: Mapping[str, Any], column: str) -> str | None:
    return json_text(place, row, (column,)) or None


def _filled(place: str, text: str, what: str) -> str:
    if not text.strip():
        raise InputError(f"{place}: the {what} is empty; add the text or remove this row")
    return text


def _missing(place: str, row: Mapping[str, Any], column: str) -> InputError:
    columns = ", ".join(map(repr, row)) or "none"
    return InputError(f"{place}: the column {column!r} is missing or null (columns here: {columns})")
