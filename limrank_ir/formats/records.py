"""Files of records (JSONL, a JSON list, or tab-separated columns) and the names that their fields go by.

Every reader takes its names from here, so that a file that one of them knows is known to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_list, json_object

DOCUMENT_ID = ("docno", "id", "_id", "pid", "docid", "doc_id", "corpus-id")
"""Of a document, the first that is there; in MS MARCO v2, `pid` is the passage and `docid` what it is cut from."""
TEXT = ("text", "segment", "contents", "content", "body", "passage", "page_content")
"""Of a document, the first that holds something; RankLLM's order (its ``inference_handler.py``)."""
QUERY_ID = ("qid", "id", "_id", "query_id", "query-id", "topic_id", "number")
QUERY = ("query", "text", "title", "question", "description")
INSTRUCTION = ("instruction", "narrative")
GRADE = ("score", "grade", "rel", "relevance", "label")


def header(cells: Sequence[str], *needed: Sequence[str]) -> list[str] | None:
    """Tell a header from data: it has a cell of each kind of name, in capitals or not.

    A document with the id "docid" and nothing but "text" for a text would pass for one; give it a header of its own.

    Args:
        cells: the columns of a line.
        needed: the kinds, such as `DOCUMENT_ID` and `TEXT`.

    Returns:
        The columns' names in lower case, or None: the line is data.
    """
    names = [cell.strip().lower() for cell in cells]
    found = [column(names, kind) for kind in needed]
    return names if None not in found and len(set(found)) == len(needed) else None


def column(names: Sequence[str], kind: Sequence[str]) -> int | None:
    """Which column of a header is of this kind: that of the first of its names; None if none is."""
    return next((names.index(name) for name in kind if name in names), None)


def pick(cells: Sequence[str], names: Sequence[str], *kinds: Sequence[str]) -> list[str]:
    """The cells of these kinds, in a line under a header that has them."""
    values = dict(zip(names, cells, strict=True))
    return [next(values[name] for name in kind if name in values) for kind in kinds]


def records(
    mark: str, stream: Iterable[tuple[str, str]], layouts: Mapping[int, Sequence[str]], *needed: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stream the records of a file; its first character tells the format: ``{`` JSONL, ``[`` a JSON list, else TSV.

    Args:
        mark: that character, and
        stream: the lines with their places, as `limrank_ir.formats.files.sniff` gives them.
        layouts: number of columns to their names, for TSV without a header.
        needed: the kinds of names that a header has (`header`).

    Yields:
        (place, such as ``corpus.jsonl:7``; the record, its numbers as the text that they were written as).

    Raises:
        InputError: malformed JSON, or a line with another number of columns.
    """
    if mark == "{":
        return ((place, json_object(place, line)) for place, line in stream)
    if mark == "[":
        return json_list(stream, numbers=str)
    return _tsv(stream, layouts, needed)


def _tsv(
    stream: Iterable[tuple[str, str]], layouts: Mapping[int, Sequence[str]], needed: Sequence[Sequence[str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Split lines at their tabs; quotes and other blanks are text. Files that were joined repeat their header."""
    names: list[str] | None = None
    first, place, found = "", "", 0
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
            counts, shapes = " or ".join(map(str, layouts)), " or ".join(map(_shape, layouts.values()))
            raise InputError(f"{place}: {len(cells)} tab-separated columns, not {counts}; write {shapes}")
        yield place, dict(zip(names or layouts[len(cells)], cells, strict=True))
    if not found:
        raise InputError(f"{place}: nothing but a header; check how the file was made")


def _shape(names: Iterable[str]) -> str:
    return repr("<TAB>".join(names))
