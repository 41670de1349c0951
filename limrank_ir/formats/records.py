"""Files of records (JSONL, a JSON list, or tab-separated columns) and the names of their fields.

All readers take the names from here, so that a file that one of them accepts works for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_list, json_object

DOCUMENT_ID = ("docno", "id", "_id", "pid", "docid", "doc_id", "corpus-id")
"""The id is the first that exists. In MS MARCO v2, `pid` is the passage, and `docid` the document it comes from."""
TEXT = ("text", "segment", "contents", "content", "body", "passage", "page_content")
"""The text is the first that is not empty, in RankLLM's order (its ``inference_handler.py``)."""
QUERY_ID = ("qid", "id", "_id", "query_id", "query-id", "topic_id", "number")
QUERY = ("query", "text", "title", "question", "description")
INSTRUCTION = ("instruction", "narrative")
GRADE = ("score", "grade", "rel", "relevance", "label")


def header(cells: Sequence[str], *needed: Sequence[str]) -> list[str] | None:
    """Recognize a header: it has a name of each kind, in upper or lower case.

    A document with the id "docid" and the text "text" looks like one; a file that starts so needs a header.

    Args:
        cells: the columns of a line.
        needed: the kinds, such as `DOCUMENT_ID` and `TEXT`.

    Returns:
        The column names in lower case, or None if the line is data.
    """
    names = [cell.strip().lower() for cell in cells]
    found = [column(names, kind) for kind in needed]
    return names if None not in found and len(set(found)) == len(needed) else None


def column(names: Sequence[str], kind: Sequence[str]) -> int | None:
    """The column for this kind of name: that of the first name in the header, or None."""
    return next((names.index(name) for name in kind if name in names), None)


def pick(cells: Sequence[str], names: Sequence[str], *kinds: Sequence[str]) -> list[str]:
    """The cells for these kinds of names, in a line under a header that has them."""
    values = dict(zip(names, cells, strict=True))
    return [next(values[name] for name in kind if name in values) for kind in kinds]


def records(
    mark: str, stream: Iterable[tuple[str, str]], layouts: Mapping[int, Sequence[str]], *needed: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stream the records of a file. Its first character tells the format: ``{`` JSONL, ``[`` a JSON list, else TSV.

    Args:
        mark: the first character, from `limrank_ir.formats.files.sniff`.
        stream: the lines with their places, from the same function.
        layouts: number of columns to their names, for TSV without a header.
        needed: the kinds of names that a header has (`header`).

    Yields:
        (place, such as ``corpus.jsonl:7``; the record, with numbers kept as text).

    Raises:
        InputError: malformed JSON, or a line with a wrong number of columns.
    """
    if mark == "{":
        return ((place, json_object(place, line)) for place, line in stream)
    if mark == "[":
        return json_list(stream, numbers=str)
    return _tsv(stream, layouts, needed)


def _tsv(
    stream: Iterable[tuple[str, str]], layouts: Mapping[int, Sequence[str]], needed: Sequence[Sequence[str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Split lines at tabs; quotes and other whitespace are text. Concatenated files repeat their header."""
    names: list[str] | None = None
    first = ""
    place = ""
    found = 0
    for number, (place, line) in enumerate(stream):
        cells = line.split("\t")
        if number == 0:
            names, first = header(cells, *needed), line
        if names and line == first:
            continue
        found += 1
        if names and len(cells) != len(names):
            raise InputError(
                f"{place}: {len(cells)} tab-separated columns, but the header has {len(names)}; write {_shape(names)}"
            )
        if not names and len(cells) not in layouts:
            counts = " or ".join(map(str, layouts))
            shapes = " or ".join(map(_shape, layouts.values()))
            raise InputError(f"{place}: {len(cells)} tab-separated columns, not {counts}; write {shapes}")
        yield place, dict(zip(names or layouts[len(cells)], cells, strict=True))
    if not found:
        raise InputError(f"{place}: only a header; check how the file was made")


def _shape(names: Iterable[str]) -> str:
    return repr("<TAB>".join(names))
