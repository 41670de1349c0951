"""TREC files: runs (rankings) and qrels (judgments)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ctypes import c_float
from os import PathLike
from typing import NamedTuple, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.formats.files import find, replacing, rows
from limrank_ir.formats.records import DOCUMENT_ID, GRADE, QUERY_ID, header, pick
from limrank_ir.formats.topics import Topic as Topic
from limrank_ir.formats.topics import read_topics as read_topics

Run: TypeAlias = Mapping[str, Sequence[tuple[str, float]]]
"""A run in memory: qid to (docno, score) pairs, best first."""

_COLUMN = re.compile(r"[^ \t\n\r\v\f]+")
# What a column may contain in a file we write: no byte-order mark or surrogates, which could not be read back.
_WRITABLE = re.compile("[^ \t\n\r\v\f\ufeff\ud800-\udfff]+")

HEAD_START, HEAD_END = "# ir_metadata.start", "# ir_metadata.end"
"""The lines around a run's metadata (Breuer et al., SIGIR 2022; github irgroup/repro_eval: repro_eval/metadata.py)."""

HIGHEST_GRADE = 1000
"""trec_eval allocates memory for every grade up to the highest; and 2**grade, a gain, must be a finite number."""


def columns(line: str) -> list[str]:
    """Split a line at ASCII whitespace, as trec_eval does: an id may hold U+00A0 or U+3000."""
    return _COLUMN.findall(line)


class RunEntry(NamedTuple):
    """One line of a TREC run.

    Attributes:
        qid: id of the query.
        docno: id of the document.
        rank: the rank in the file, or None if it is not an integer; trec_eval and `read_run` use the score.
        score: higher is better.
        tag: the name of the system.
    """

    qid: str
    docno: str
    rank: int | None
    score: float
    tag: str


def trec_order(scored: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Rank documents like trec_eval, regardless of the ranks in a file.

    Args:
        scored: the (docno, score) pairs of one query.

    Returns:
        The same pairs by descending score, compared as float32; ties by descending docno.
    """
    return sorted(scored, key=lambda pair: _trec_key(*pair), reverse=True)


def _trec_key(docno: str, score: float) -> tuple[float, str]:
    """The sort key of `trec_order`. Code points sort like trec_eval's UTF-8 bytes."""
    return c_float(score).value, docno


def iter_run(path: str | PathLike[str], *, spaces: bool = False) -> Iterator[RunEntry]:
    """Stream a TREC run: ``qid Q0 docno rank score tag``, any whitespace between the columns.

    A head of ir_metadata, comment lines from ``# ir_metadata.start`` to ``# ir_metadata.end``, is left out.

    Args:
        path: the run, plain or ``.gz``.
        spaces: accept docnos with spaces inside, as public BRIGHT runs have, and read each space as ``%20``.

    Yields:
        The lines in file order.

    Raises:
        InputError: a malformed line, a head that does not end, or a duplicate document of a query; and as for
            `limrank_ir.formats.files.lines`.
    """
    seen: dict[str, set[str]] = {}
    for place, line in without_heads(rows(path)):
        found = columns(line)
        if spaces and len(found) > 6:
            found = [*found[:2], "%20".join(found[2:-3]), *found[-3:]]
        if len(found) != 6:
            raise InputError(
                f"{place}: {len(found)} columns, not 6; write 'qid Q0 docno rank score tag' without spaces inside"
            )
        qid, _, docno, rank, score, tag = found
        docnos = seen.setdefault(qid, set())
        if docno in docnos:
            raise InputError(f"{place}: duplicate document {docno!r} for query {qid!r}; list it once")
        docnos.add(docno)
        yield RunEntry(qid, docno, _rank(rank), _score(place, score), tag)


def without_heads(stream: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Leave out heads of ir_metadata, also those of concatenated runs.

    Other lines that begin with ``#`` stay: a query's id may begin with it.

    Args:
        stream: (place, line), as from `limrank_ir.formats.files.rows`.

    Yields:
        The other lines.

    Raises:
        InputError: a head does not end.
    """
    start = ""
    for place, line in stream:
        mark = line.strip()
        if not start and mark == HEAD_START:
            start = place
        elif not start:
            yield place, line
        elif mark == HEAD_END:
            start = ""
        elif mark == HEAD_START or not line.startswith("#"):
            break
    if start:
        raise InputError(f"{start}: the head that begins here has no {HEAD_END!r}; add this line after it")


def read_run(path: str | PathLike[str], *, spaces: bool = False) -> dict[str, list[RunEntry]]:
    """Read a TREC run, query by query.

    Args:
        path: the run, plain or ``.gz``.
        spaces: as for `iter_run`.

    Returns:
        qid to its entries in `trec_order`; the queries in order of first appearance.

    Raises:
        InputError: as for `iter_run`, or a run without lines.
    """
    run: dict[str, list[RunEntry]] = {}
    for entry in iter_run(path, spaces=spaces):
        run.setdefault(entry.qid, []).append(entry)
    if not run:
        raise InputError(f"{path}: empty run; check the first stage that made it")
    for entries in run.values():
        entries.sort(key=lambda entry: _trec_key(entry.docno, entry.score), reverse=True)
    return run


def write_run(
    path: str | PathLike[str], run: Mapping[str, Iterable[tuple[str, float]]], *, tag: str = "limrank"
) -> None:
    """Write a TREC run in `trec_order`, with ranks from 1 and all digits of the scores.

    >>> write_run("run.txt", {"q1": [("d1", 0.5), ("d2", 3.25)]})  # doctest: +SKIP

    Args:
        path: the file, compressed if it ends in ``.gz``; replaced if it exists.
        run: qid to (docno, score) pairs in any order, such as the ``items()`` of a dict.
        tag: the name of the system, the last column.

    Raises:
        InputError: a score that is not finite, a duplicate document of a query, an id or tag that is empty or contains
            whitespace (which would shift the columns), or an empty run; and as for
            `limrank_ir.formats.files.replacing`.
    """
    check_writable(path, "tag", tag)
    written = 0
    with replacing(path) as file:
        for qid, scored in run.items():
            check_writable(path, "qid", qid)
            scores: dict[str, float] = {}
            for docno, score in scored:
                check_writable(path, "docno", docno)
                if docno in scores:
                    raise InputError(f"{path}: duplicate document {docno!r} for query {qid!r}; list it once")
                if not math.isfinite(score):
                    raise InputError(f"{path}: query {qid!r}, document {docno!r}: score {score} is not finite")
                scores[docno] = float(score)  # the repr of NumPy floats is not a number
            for rank, (docno, score) in enumerate(trec_order(scores.items()), 1):
                file.write(f"{qid} Q0 {docno} {rank} {score!r} {tag}\n")
            written += len(scores)
        if not written:
            raise InputError(f"{path}: empty run, nothing to write; check the queries and the first stage")


def read_qrels(path: str | PathLike[str]) -> dict[str, dict[str, int]]:
    """Read judgments: ``qid 0 docno grade``, or columns named by a header, such as BEIR's ``query-id corpus-id score``.

    Args:
        path: the qrels, plain or ``.gz``, or a folder with ``qrels.txt`` or BEIR's ``qrels/test.tsv``.

    Returns:
        qid to docno to grade, an integer up to `HIGHEST_GRADE`; grades below 0 are kept.

    Raises:
        InputError: a malformed line, a document with two grades for a query, or a file without judgments; and as for
            `limrank_ir.formats.files.lines`.
    """
    file = find(path, ("qrels.txt", "qrels.txt.gz", "qrels/test.tsv"))
    qrels: dict[str, dict[str, int]] = {}
    layout = ["qid", "0", "docno", "grade"]
    for place, line in rows(file):
        found = columns(line)
        if names := header(found, QUERY_ID, DOCUMENT_ID, GRADE):
            layout = names
            continue
        if len(found) != len(layout):
            raise InputError(f"{place}: {len(found)} columns, not {len(layout)}; write {' '.join(layout)!r}")
        qid, docno, text = pick(found, layout, QUERY_ID, DOCUMENT_ID, GRADE)
        grade = _grade(place, text)
        if qrels.setdefault(qid, {}).setdefault(docno, grade) != grade:
            raise InputError(
                f"{place}: document {docno!r} has grade {grade} for query {qid!r} but had "
                f"{qrels[qid][docno]} before; keep one"
            )
    if not qrels:
        raise InputError(f"{file}: no judgments in it; write {' '.join(layout)!r}")
    return qrels


def write_qrels(path: str | PathLike[str], qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgments: ``qid 0 docno grade``.

    Args:
        path: the file, compressed if it ends in ``.gz``; replaced if it exists.
        qrels: qid to docno to grade.

    Raises:
        InputError: an id is empty or contains whitespace; and as for `limrank_ir.formats.files.replacing`.
    """
    with replacing(path) as file:
        for qid, grades in qrels.items():
            check_writable(path, "qid", qid)
            for docno, grade in grades.items():
                check_writable(path, "docno", docno)
                file.write(f"{qid} 0 {docno} {grade}\n")


def _rank(text: str) -> int | None:
    """Read the rank of a run, on which nothing depends."""
    try:
        return int(text)
    except ValueError:
        return None


def _grade(place: str, text: str) -> int:
    """Read a grade of the qrels at ``place``; 1.0, as data frames write it, is 1."""
    try:
        grade = float(text)
    except ValueError:
        grade = math.nan
    if not grade.is_integer():
        raise InputError(f"{place}: grade {text!r} is not an integer; check the columns")
    if grade > HIGHEST_GRADE:
        raise InputError(
            f"{place}: grade {text} is above {HIGHEST_GRADE}, and evaluation needs memory for every grade up to the "
            "highest; use smaller grades"
        )
    return int(grade)


def _score(place: str, text: str) -> float:
    """Read a score of the run at ``place``: a finite number."""
    try:
        score = float(text)
    except ValueError as error:
        raise InputError(f"{place}: score {text!r} is not a number; check the columns") from error
    if not math.isfinite(score):
        raise InputError(f"{place}: score {text!r} is not finite and cannot be ranked; correct it")
    return score


def check_writable(path: str | PathLike[str], what: str, text: str) -> None:
    """Refuse an id or a tag that a run cannot contain.

    Args:
        path: the start of the error message.
        what: ``"qid"``, ``"docno"`` or ``"tag"``, for the message.
        text: the id or tag.

    Raises:
        InputError: it is empty or contains whitespace, a byte-order mark, or half a surrogate pair.
    """
    if not _WRITABLE.fullmatch(text):
        raise InputError(
            f"{path}: {what} {text!r} is empty, or has whitespace, a byte-order mark, or half a character; rename it"
        )
