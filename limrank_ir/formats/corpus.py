"""Corpora: the passages of a collection, streamed from JSON, TSV, or a BEIR folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from os import PathLike
from typing import NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.files import find, json_text, need_json_text, sniff
from limrank_ir.formats.records import DOCUMENT_ID, TEXT, records
from limrank_ir.formats.words import some


class Passage(NamedTuple):
    """One passage of a corpus.

    Attributes:
        docno: its id.
        text: its text, which may be empty.
        title: its title, or None.
    """

    docno: str
    text: str
    title: str | None = None

    @property
    def reader_text(self) -> str:
        """What a reranker reads: ``"{title} {text}"``, or just one of them (as in rank1.py of the released code)."""
        return " ".join(part for part in (self.title, self.text) if part)


def iter_corpus(path: str | PathLike[str]) -> Iterator[Passage]:
    """Stream a corpus; the first character of the file tells the format.

    - ``{``: JSONL, or ``[``: a JSON list, of objects with an id (``docno``, ``id``, ``_id``, ``pid``, ``docid``,
      ``doc_id``), a text (``text``, ``segment``, ``contents``, ``content``, ``body``, ``passage``, ``page_content``:
      the first that is not empty), and optionally a ``title``.
    - otherwise: ``docno<TAB>text``, ``docno<TAB>title<TAB>text``, or any columns with a header, such as DPR's
      ``id<TAB>text<TAB>title``. The first line is a header if it has one of the id names above and one of the text
      names. Quotes are ordinary characters.

    Args:
        path: the corpus, plain or ``.gz``, or a folder with ``corpus.jsonl`` (plain or ``.gz``).

    Yields:
        The passages in file order.

    Raises:
        InputError: malformed lines, a passage without an id or text field, a duplicate docno, or an empty file; and
            as for `limrank_ir.formats.files.lines`.
    """
    seen: set[str] = set()
    for place, passage in _with_places(path):
        if passage.docno in seen:
            raise InputError(f"{place}: duplicate docno {passage.docno!r}; give every passage its own")
        seen.add(passage.docno)
        yield passage


def read_passages(path: str | PathLike[str], docnos: Collection[str]) -> dict[str, Passage]:
    """Read some passages of a corpus. The others are not kept in memory.

    Args:
        path: the corpus, as for `iter_corpus`.
        docnos: the passages to read.

    Returns:
        docno to passage, in the order of the corpus.

    Raises:
        InputError: one of these passages is missing, duplicated, or without text; and as for `iter_corpus`.
    """
    wanted = dict.fromkeys(docnos)
    found: dict[str, Passage] = {}
    for place, passage in _with_places(path):
        if passage.docno not in wanted:
            continue
        if passage.docno in found:
            raise InputError(f"{place}: duplicate docno {passage.docno!r}; give every passage its own")
        if not passage.reader_text.strip():
            raise InputError(f"{place}: passage {passage.docno!r} has no text; add it or leave the passage out")
        found[passage.docno] = passage
    missing = [docno for docno in wanted if docno not in found]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {len(wanted)} passages are not in this corpus ({some(missing)}); "
            "give the corpus that they come from"
        )
    return found


_LAYOUTS = {2: ("docno", "text"), 3: ("docno", "title", "text")}


def _with_places(path: str | PathLike[str]) -> Iterator[tuple[str, Passage]]:
    """Stream (place in the file, passage) of a corpus. Docnos may repeat."""
    mark, stream = sniff(find(path, ("corpus.jsonl", "corpus.jsonl.gz")))
    for place, record in records(mark, stream, _LAYOUTS, DOCUMENT_ID, TEXT):
        docno = need_json_text(place, record, DOCUMENT_ID)
        text = need_json_text(place, record, TEXT)
        if not docno.strip():
            raise InputError(f"{place}: empty docno; give the passage an id")
        yield place, Passage(docno, text, json_text(place, record, ("title",)) or None)
