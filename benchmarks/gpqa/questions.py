"""GPQA's questions, from its CSV file or from JSONL, with their choices in a reproducible random order."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_records, lines, sniff
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import check_writable

LETTERS = "ABCDEFGHIJ"
_INCORRECT = re.compile(r"incorrect_answer_\d+")
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Question:
    """A multiple-choice question. Its text is gated: it goes to models, never into a file or a message.

    Attributes:
        qid: its record id, or a hash of its text if it has none.
        text: the question.
        choices: the choices as they are shown, from (A) on.
        order: for each of them, its place in the file: 0 is the correct answer.
    """

    qid: str
    text: str
    choices: tuple[str, ...]
    order: tuple[int, ...]

    @property
    def answer(self) -> str:
        """The letter of the correct choice."""
        return LETTERS[self.order.index(0)]

    @property
    def shown(self) -> str:
        """The question with its choices."""
        choices = "\n".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False))
        return f"{self.text}\n\nChoices:\n{choices}"

    def topic(self, *, choices: bool) -> Topic:
        """What BM25 and the rerankers read.

        Args:
            choices: whether the choices are part of the query, as in the one text that the released scripts give to
                BM25, reranker, and reader (``SighingSnow/limrank: limrank-gpqa/``).

        Returns:
            The topic.
        """
        return Topic(self.qid, self.shown if choices else self.text)


@dataclass(frozen=True)
class Questions:
    """The questions of a file.

    Attributes:
        questions: in the order of the file.
        canaries: the ids of the canary strings in it. A passage with one of them is a copy of the benchmark.
        fingerprint: a hash of the content.
    """

    questions: list[Question]
    canaries: frozenset[str]
    fingerprint: str


def read_questions(path: Path, *, seed: int = 0) -> Questions:
    """Read questions: GPQA's CSV, or JSON objects with the same names (``correct_answer`` is ``Correct Answer``).

    The columns are Question, Correct Answer, Incorrect Answer 1 to 3 (or to 9), and optionally Record ID and Canary
    String. All others are ignored.

    Args:
        path: the file, plain or ``.gz``; JSON if it begins with ``{`` or ``[``, else CSV.
        seed: seed of the order of the choices, which depends on nothing else but the question's id.

    Returns:
        The questions.

    Raises:
        InputError: a malformed row, a missing or empty field, two questions with the same id, or a wrong choice equal
            to the correct answer. The message never repeats a text.
    """
    questions: dict[str, Question] = {}
    canaries: set[str] = set()
    for place, record in _records(path):
        question = _question(place, record, seed)
        if question.qid in questions:
            raise InputError(f"{place}: a second question {question.qid!r}; give every question its own Record ID")
        questions[question.qid] = question
        canaries.update(guid.lower() for guid in _GUID.findall(str(record.get("canary_string") or "")))
    if not questions:
        raise InputError(f"{path}: only a header; check how the file was made")
    digest = hashlib.sha256(repr(sorted((q.qid, q.text, sorted(q.choices)) for q in questions.values())).encode())
    return Questions(list(questions.values()), frozenset(canaries), digest.hexdigest()[:32])


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each row; names in lower case with underscores."""
    mark, _ = sniff(path)
    for place, record in json_records(path) if mark in "{[" else _csv(path):
        yield place, {name.strip().lower().replace(" ", "_"): value for name, value in record.items()}


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = csv.DictReader((f"{line}\n" for _, line in lines(path)), restkey="")
    try:
        for row in rows:
            place = f"{path}:{rows.line_num}"
            if "" in row or None in row.values():
                raise InputError(f"{place}: not as many columns as the header has; check the quotes")
            yield place, row
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: malformed CSV ({error}); check the quotes") from error


def _question(place: str, record: dict[str, Any], seed: int) -> Question:
    wrong = sorted(name for name in record if _INCORRECT.fullmatch(name))
    if not wrong or len(wrong) >= len(LETTERS):
        raise InputError(f"{place}: {len(wrong)} columns 'Incorrect Answer 1', ...; a question needs 1 to 9")
    text, *choices = [_text(place, record, name) for name in ("question", "correct_answer", *wrong)]
    if choices[0] in choices[1:]:
        raise InputError(f"{place}: a wrong choice has the text of the correct one; correct the row")
    qid = str(record.get("record_id") or record.get("id") or hashlib.sha256(text.encode()).hexdigest()[:16]).strip()
    check_writable(place, "Record ID", qid)

    def draw(index: int) -> bytes:  # depends neither on the other questions nor on the version of Python
        return hashlib.sha256(f"{seed} {qid} {index}".encode()).digest()

    order = sorted(range(len(choices)), key=draw)
    return Question(qid, text, tuple(choices[index] for index in order), tuple(order))


def _text(place: str, record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # a choice in JSON may be a number
    if not isinstance(value, str) or not value.strip():
        shown = name.replace("_", " ").title()
        raise InputError(f"{place}: no {shown!r} in this row; GPQA's columns are Question, Correct Answer, ...")
    return value.strip()
