"""TREC's files: runs (rankings), qrels (judgments) and topics (queries), as streams and plain values."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from ctypes import c_float
from os import PathLike
from typing import NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.files import find, json_object, json_text, need_json_text, replacing, rows, sniff, tsv_columns

_COLUMN = re.compile(r"[^ \t\n\r\v\f]+")
# What a column may hold when written: no byte-order mark and no surrogates either, which would not be read back.
_WRITABLE = re.compile("[^ \t\n\r\v\f\ufeff\ud800-\udfff]+")

_BEIR_QRELS_HEADER = ["query-id", "corpus-id", "score"]


def columns(line: str) -> list[str]:
    """Split a line at ASCII whitespace, as trec_eval does: an id may hold U+00A0 or U+3000."""
    return _COLUMN.findall(line)


class RunEntry(NamedTuple):
    """One line of a TREC run.

    Attributes:
        qid: id of the query.
        docno: id of the document.
        rank: the rank as the file has it; trec_eval and :func:`read_run` go by the score.
        score: the higher, the better.
        tag: name of the system that made the run.
    """

    qid: str
    docno: str
    rank: int
    score: float
    tag: str


def trec_order(scored: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Rank documents as trec_eval does, whatever the ranks in a file say.

    Args:
        scored: (docno, score) of one query.

    Returns:
        The same pairs by descending score, compared as float32; ties by descending docno.
    """
    return sorted(scored, key=lambda pair: _trec_key(*pair), reverse=True)


def _trec_key(docno: str, score: float) -> tuple[float, str]:
    """Sort key of :func:`trec_order`. Code points order as trec_eval's UTF-8 bytes do."""
    return c_float(score).value, docno


def iter_run(path: str | PathLike[str]) -> Iterator[RunEntry]:
    """Stream a TREC run: ``qid Q0 docno rank score tag``, any whitespace between the columns.

    Args:
        path: the run, plain or ``.gz``.

    Yields:
        The lines in the order of the file.

    Raises:
        InputError: a line that is no such line, or a document that is listed twice for a query; and as for
            :func:`limrank_ir.files.lines`.
    """
    seen: dict[str, set[str]] = {}
    for place, line in rows(path):
        found = columns(line)
        if len(found) != 6:
            raise InputError(
                f"{place}: {len(found)} columns, not 6; write 'qid Q0 docno rank score tag' without spaces inside"
            )
        qid, _, docno, rank, score, tag = found
        docnos = seen.setdefault(qid, set())
        if docno in docnos:
            raise InputError(f"{place}: document {docno!r} again for query {qid!r}; list it once")
        docnos.add(docno)
        yield RunEntry(qid, docno, _integer(place, "rank", rank), _score(place, score), tag)


def read_run(path: str | PathLike[str]) -> dict[str, list[RunEntry]]:
    """Read a TREC run, query by query.

    Args:
        path: the run, plain or ``.gz``.

    Returns:
        qid to its entries in :func:`trec_order`; the queries in order of first appearance.

    Raises:
        InputError: as for :func:`iter_run`, or a run without lines.
    """
    run: dict[str, list[RunEntry]] = {}
    for entry in iter_run(path):
        run.setdefault(entry.qid, []).append(entry)
    if not run:
        raise InputError(f"{path}: empty run; check the first stage that made it")
    for entries in run.values():
        entries.sort(key=lambda entry: _trec_key(entry.docno, entry.score), reverse=True)
    return run


def write_run(
    path: str | PathLike[str], run: Mapping[str, Iterable[tuple[str, float]]], *, tag: str = "limrank"
) -> None:
    """Write a TREC run in :func:`trec_order`, ranks from 1, scores to the last digit, all of it or nothing.

    >>> write_run("run.txt", {"q1": [("d1", 0.5), ("d2", 3.25)]})  # doctest: +SKIP

    Args:
        path: the file, compressed if it ends in ``.gz``; replaced if it is there.
        run: qid to (docno, score) pairs in any order; from a dict of scores, its ``items()``.
        tag: name of the system, the last column.

    Raises:
        InputError: a score that is not finite, a document twice in a query, an id or tag that is empty or holds
            whitespace (it would shift the columns), or a run without lines; and as for
            :func:`limrank_ir.files.replacing`.
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
                    raise InputError(f"{path}: document {docno!r} twice for query {qid!r}; list it once")
                if not math.isfinite(score):
                    raise InputError(f"{path}: query {qid!r}, document {docno!r}: score {score}; give a finite one")
                scores[docno] = float(score)  # NumPy's floats too: their repr is not a number
            for rank, (docno, score) in enumerate(trec_order(scores.items()), 1):
                file.write(f"{qid} Q0 {docno} {rank} {score!r} {tag}\n")
            written += len(scores)
        if not written:
            raise InputError(f"{path}: empty run, nothing to write; check the queries and the first stage")


def read_qrels(path: str | PathLike[str]) -> dict[str, dict[str, int]]:
    """Read judgments: ``qid 0 docno grade``, or BEIR's three columns under their header.

    Args:
        path: the qrels, plain or ``.gz``; or a folder that holds ``qrels.txt`` or BEIR's ``qrels/test.tsv``.

    Returns:
        qid to docno to grade; grades below 0 are kept.

    Raises:
        InputError: a line that is no such line, a document with two grades for a query, or a file without
            judgments; and as for :func:`limrank_ir.files.lines`.
    """
    file = find(path, ("qrels.txt", "qrels.txt.gz", "qrels/test.tsv"))
    qrels: dict[str, dict[str, int]] = {}
    layout = ["qid", "0", "docno", "grade"]
    for place, line in rows(file):
        found = columns(line)
        if found == _BEIR_QRELS_HEADER:
            layout = found
            continue
        if len(found) != len(layout):
            raise InputError(f"{place}: {len(found)} columns, not {len(layout)}; write {' '.join(layout)!r}")
        qid, docno, grade = found[0], found[-2], _integer(place, "grade", found[-1])
        if qrels.setdefault(qid, {}).setdefault(docno, grade) != grade:
            raise InputError(
                f"{place}: document {docno!r} has grade {grade} for query {qid!r} but had "
                f"{qrels[qid][docno]} before; keep one"
            )
    if not qrels:
        raise InputError(f"{file}: no judgments in it; write {' '.join(layout)!r}")
    return qrels


class Topic(NamedTuple):
    """One information need.

    Attributes:
        qid: its id.
        query: the query.
        instruction: what makes a document relevant, in words (TREC's narrative), or None.
    """

    qid: str
    query: str
    instruction: str | None = None


def read_topics(path: str | PathLike[str]) -> dict[str, Topic]:
    """Read topics; the first character of the file tells the format.

    - ``{``: JSONL with an id (``qid``, ``id``, ``_id``, ``query_id``), a query (``query``, ``text``, ``title``) and
      perhaps an ``instruction``.
    - ``<``: TREC's ``<top>`` with ``<num>``, ``<title>``, ``<desc>``, ``<narr>`` (closed or not), or
      ``<topic number="1">`` with ``<query>``, ``<question>``, ``<narrative>`` or bare text inside. The query is the
      title, else the description; the instruction is the narrative. Runs of whitespace become one space.
    - else: ``qid<TAB>query`` or ``qid<TAB>query<TAB>instruction``.

    Args:
        path: the topics, plain or ``.gz``; or a folder that holds ``topics.jsonl`` or BEIR's ``queries.jsonl``
            (plain or ``.gz``).

    Returns:
        qid to topic, in the order of the file.

    Raises:
        InputError: malformed lines, a topic without id or query, an id that comes twice, or a file without
            topics; and as for :func:`limrank_ir.files.lines`.
    """
    file = find(path, ("topics.jsonl", "topics.jsonl.gz", "queries.jsonl", "queries.jsonl.gz"))
    first, stream = sniff(file)
    read = {"{": _json_topics, "<": _markup_topics}.get(first, _tsv_topics)
    topics: dict[str, Topic] = {}
    for place, topic in read(stream):
        if not topic.qid.strip():
            raise InputError(f"{place}: topic without an id; give it one")
        if not topic.query.strip():
            raise InputError(f"{place}: topic {topic.qid!r} has no query; write one or remove the topic")
        if topic.qid in topics:
            raise InputError(f"{place}: topic {topic.qid!r} again; give every topic its own id")
        topics[topic.qid] = topic
    if not topics:
        raise InputError(f"{file}: no <top> or <topic> in it; give TREC topics, JSONL or 'qid<TAB>query'")
    return topics


def _tsv_topics(stream: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Topic]]:
    """Read topics from tab-separated (place, line) pairs; yields (place, topic)."""
    for place, line in stream:
        qid, query, *instruction = tsv_columns(place, line, "qid<TAB>query[<TAB>instruction]")
        yield place, Topic(qid, query, "".join(instruction) or None)


def _json_topics(stream: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Topic]]:
    """Read topics from (place, line) pairs of JSONL; yields (place, topic)."""
    for place, line in stream:
        record = json_object(place, line)
        qid = need_json_text(place, record, ("qid", "id", "_id", "query_id"))
        query = need_json_text(place, record, ("query", "text", "title"))
        yield place, Topic(qid, query, json_text(place, record, ("instruction",)) or None)


_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TOPIC = re.compile(r"<top(?:ic)?(\s[^>]*)?>(.*?)(?=<top(?:ic)?[\s>]|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(/?[a-z]\w*)[^<>]*>", re.IGNORECASE)
_NUMBER = re.compile(r"""\b(?:number|num|qid|id)\s*=\s*["']([^"']*)""", re.IGNORECASE)
_ENTITY = re.compile(r"&#?\w+;")
_LABELS = {"num": "Number:", "title": "Topic:", "desc": "Description:", "narr": "Narrative:"}


def _markup_topics(stream: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Topic]]:
    """Read topics from (place, line) pairs of TREC's SGML or XML; yields (place, topic).

    A field ends where the next tag begins, so it does not matter whether tags are closed or the whole is well-formed.
    """
    places, lines = zip(*stream, strict=True)
    # A comment may hold topics that were taken out; its line ends stay for the places.
    text = _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), "\n".join(lines))
    for match in _TOPIC.finditer(text):
        bare, *tagged = _TAG.split(match[2])
        fields: dict[str, str] = {}
        for name, value in zip(tagged[::2], tagged[1::2], strict=True):
            fields.setdefault(name.lower(), _plain(value, _LABELS.get(name.lower(), "")))
        number = _NUMBER.search(match[1] or "")
        qid = fields.get("num") or (_plain(number[1]) if number else "")
        query = _first(fields, "title", "query", "desc", "description", "question") or _plain(bare)
        yield places[text.count("\n", 0, match.start())], Topic(qid, query, _first(fields, "narr", "narrative"))


def _plain(text: str, label: str = "") -> str:
    """Resolve entities, join the lines, and take off the label that TREC writes at the start of a field."""
    joined = " ".join(_ENTITY.sub(lambda match: html.unescape(match[0]), text).split())
    return joined.removeprefix(label).lstrip()


def _first(fields: Mapping[str, str], *names: str) -> str | None:
    """Give the first of these fields that is there and not empty."""
    return next((fields[name] for name in names if fields.get(name)), None)


def _integer(place: str, what: str, text: str) -> int:
    """Read an integer column of the file at ``place``."""
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{place}: {what} {text!r} is no integer; check the columns") from error


def _score(place: str, text: str) -> float:
    """Read a score of the run at ``place``: a finite number."""
    try:
        score = float(text)
    except ValueError as error:
        raise InputError(f"{place}: score {text!r} is no number; check the columns") from error
    if not math.isfinite(score):
        raise InputError(f"{place}: score {text!r} is not finite and cannot be ranked; correct it")
    return score


def check_writable(path: str | PathLike[str], what: str, text: str) -> None:
    """Refuse an id or a tag that a run cannot hold.

    Args:
        path: what the error message begins with.
        what: ``"qid"``, ``"docno"`` or ``"tag"``, for the message.
        text: the id or tag.

    Raises:
        InputError: it is empty or holds whitespace, a byte-order mark or half a character.
    """
    if not _WRITABLE.fullmatch(text):
        raise InputError(
            f"{path}: {what} {text!r} is empty, or holds whitespace, a byte-order mark or half a character; rename it"
        )
