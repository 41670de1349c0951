"""Topics (queries): JSON, TSV, and TREC's SGML or XML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.files import find, json_text, need_json_text, sniff
from limrank_ir.formats.records import INSTRUCTION, QUERY, QUERY_ID, records


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
    """Read topics. The first character of the file tells the format.

    - ``{``: JSONL, or ``[``: a JSON list, of objects with an id (``qid``, ``id``, ``_id``, ``query_id``, ``query-id``,
      ``topic_id``, ``number``), a query (``query``, ``text``, ``title``, ``question``, ``description``), and optionally
      an ``instruction`` or ``narrative``.
    - ``<``: TREC's ``<top>`` with ``<num>``, ``<title>``, ``<desc>``, ``<narr>`` (closed or not), or
      ``<topic number="1">`` with ``<query>``, ``<question>``, ``<narrative>`` or bare text inside; Touché's
      ``<number>``, and CLEF's ``<identifier>`` and ``<EN-title>``. The query is the title, or else the description;
      the instruction is the narrative. A field ends at its closing tag or, without one, at the next field's tag. All
      other tags are kept as text (``List<String>``, ``<b>bold</b>``); CDATA sections and entities are resolved. Runs
      of whitespace become one space.
    - otherwise: ``qid<TAB>query``, ``qid<TAB>query<TAB>instruction``, or any columns with a header. The first line is
      a header if it has one of the id names above and one of the query names.

    Args:
        path: the topics, plain or ``.gz``, or a folder with ``topics.jsonl`` or BEIR's ``queries.jsonl`` (plain or
            ``.gz``).

    Returns:
        qid to topic, in file order.

    Raises:
        InputError: malformed lines, a topic without an id or query, a duplicate id, or a file without topics; and as
            for `limrank_ir.formats.files.lines`.
    """
    file = find(path, ("topics.jsonl", "topics.jsonl.gz", "queries.jsonl", "queries.jsonl.gz"))
    mark, stream = sniff(file)
    topics: dict[str, Topic] = {}
    for place, topic in _markup_topics(stream) if mark == "<" else _record_topics(mark, stream):
        if not topic.qid.strip():
            raise InputError(f"{place}: topic without an id; add one")
        if not topic.query.strip():
            raise InputError(f"{place}: topic {topic.qid!r} has no query; add one or remove the topic")
        if topic.qid in topics:
            raise InputError(f"{place}: duplicate topic {topic.qid!r}; give every topic its own id")
        topics[topic.qid] = topic
    if not topics:
        raise InputError(f"{file}: no <top> or <topic> in it; give TREC topics, JSONL, or 'qid<TAB>query'")
    return topics


_LAYOUTS = {2: ("qid", "query"), 3: ("qid", "query", "instruction")}


def _record_topics(mark: str, stream: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Topic]]:
    """Read (place, topic) pairs from lines of JSON or TSV."""
    for place, record in records(mark, stream, _LAYOUTS, QUERY_ID, QUERY):
        qid = need_json_text(place, record, QUERY_ID)
        query = need_json_text(place, record, QUERY)
        yield place, Topic(qid, query, json_text(place, record, INSTRUCTION) or None)


_SECTIONS = {"<!--": "-->", "<![CDATA[": "]]>"}
_OPENING = re.compile("|".join(map(re.escape, _SECTIONS)))
_TOPIC = re.compile(r"<top(?:ic)?(\s[^>]*)?>(.*?)(?=</?top(?:ics?)?[\s>]|\Z)", re.IGNORECASE | re.DOTALL)
_ATTRIBUTE = re.compile(r"""\b(?:number|num|qid|id)\s*=\s*["']([^"']*)""", re.IGNORECASE)
_ENTITY = re.compile(r"&#?\w+;")
_LABELS = {"num": "Number:", "number": "Number:", "title": "Topic:", "desc": "Description:", "narr": "Narrative:"}
_ID = ("num", "number", "identifier", "qid")
# TREC's four tags start a field anywhere in a line, as many files need. The others may occur in a query
# (`List<Number>`), so they end an unclosed field only at the start of a line.
_ANYWHERE = ("num", "title", "desc", "narr")
_OTHERS = (*_ID[1:], "query", "description", "question", "narrative", "subtopic", "dom", "smry", "con", "fac", "def")
_FIELD = re.compile(
    rf"(?P<start>^[ \t]*)?<(?:[a-z]{{2}}-)?(?P<name>{'|'.join(_ANYWHERE + _OTHERS)})(?:\s[^<>]*?)?(?P<empty>/?)>",
    re.IGNORECASE | re.MULTILINE,
)


def _markup_topics(stream: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Topic]]:
    """Read (place, topic) pairs from lines of TREC's SGML or XML."""
    places, lines = zip(*stream, strict=True)
    text = _plain_markup("\n".join(lines))
    for match in _TOPIC.finditer(text):
        bare, fields = _fields(match[2])
        number = _ATTRIBUTE.search(match[1] or "")
        qid = _first(fields, *_ID) or (_plain(number[1]) if number else "")
        query = _first(fields, "title", "query", "desc", "description", "question") or bare
        yield places[text.count("\n", 0, match.start())], Topic(qid, query, _first(fields, "narr", "narrative"))


def _plain_markup(text: str) -> str:
    """Convert CDATA sections to entities, and reduce comments, which may contain topics, to their line ends."""
    last = {opening: text.rfind(closing) for opening, closing in _SECTIONS.items()}
    pieces = []
    done = 0
    for match in _OPENING.finditer(text):
        opening, start = match[0], match.end()
        if match.start() < done or last[opening] < start:  # inside another section, or never closed, so it is text
            continue
        end = text.index(_SECTIONS[opening], start)
        inside = text[start:end]
        pieces.append(text[done : match.start()])
        pieces.append("\n" * inside.count("\n") if opening == "<!--" else html.escape(inside))
        done = end + len(_SECTIONS[opening])
    return "".join(pieces) + text[done:]


def _fields(body: str) -> tuple[str, dict[str, str]]:
    """Split a topic into the text before its fields and the fields. A repeated name is text, or ignored."""
    fields: dict[str, str] = {}
    field = next((match for match in _FIELD.finditer(body) if not _in_a_word(match)), None)
    bare = _plain(body[: field.start()] if field else body)
    while field:
        name, start = field["name"].lower(), field.end()
        following = None
        if field["empty"]:
            end = start
        elif closed := re.compile(rf"</(?:[a-z]{{2}}-)?{name}\s*>", re.IGNORECASE).search(body, start):
            end = closed.start()
        else:
            following = _next_field(body, start, name, fields)
            end = following.start() if following else len(body)
        if not fields.get(name):
            fields[name] = _plain(body[start:end], _LABELS.get(name, ""))
        field = following or _FIELD.search(body, end)
    return bare, fields


def _next_field(body: str, start: int, name: str, fields: Mapping[str, str]) -> re.Match[str] | None:
    """The field at which an unclosed field ends: the next one with a new name, or for an id, the next one."""
    seen = {name, *fields, *(_ID if any(key in fields for key in _ID) else ())}
    for match in _FIELD.finditer(body, start):
        found = match["name"].lower()
        begins = match["start"] is not None or (found in _ANYWHERE and not _in_a_word(match))
        if name in _ID or (found not in seen and begins):
            return match
    return None


def _in_a_word(tag: re.Match[str]) -> bool:
    return tag.start() > 0 and tag.string[tag.start() - 1].isalnum()


def _plain(text: str, label: str = "") -> str:
    """Resolve entities, join the lines, and remove the label that TREC writes at the start of a field."""
    joined = " ".join(_ENTITY.sub(lambda match: html.unescape(match[0]), text).split())
    return joined.removeprefix(label).lstrip()


def _first(fields: Mapping[str, str], *names: str) -> str | None:
    """The first of these fields that is not empty."""
    return next((fields[name] for name in names if fields.get(name)), None)
