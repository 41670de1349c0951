"""Corpora: the passages of a collection, streamed from JSON, TSV or a BEIR folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from os import PathLike
from typing import NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.files import find, json_text, need_json_text, sniff
from limrank_ir.formats.records import DOCUMENT_ID, TEXT, records


class Passage(NamedTuple):
    """One passage of a corpus.

    Attributes:
        docno: its id.
        text: its text; may be empty.
        title: its title, or None.
    """

    docno: str
    text: str
    title: str | None = None

    @property
    def reader_text(self) -> str:
        """What a reranker reads: ``"{title} {text}"``, or the one that there is (rank1.py of the released code)."""
        return " ".join(part for part in (self.title, self.text) if part)


def iter_corpus(path: str | PathLike[str]) -> Iterator[Passage]:
    """Stream a corpus; the first character of the file tells the format.

    - ``{``: JSONL, or ``[``: a JSON list, of objects with an id (``docno``, ``id``, ``_id``, ``pid``, ``docid``,
      ``doc_id``), a text (``text``, ``segment``, ``contents``, ``content``, ``body``, ``passage``, ``page_content``:
      the first that holds something) and perhaps a ``title``.
    - else: ``docno<TAB>text`` or ``docno<TAB>title<TAB>text``, or any columns under a header, such as DPR's
      ``id<TAB>text<TAB>title``. The first line is a header if it has one of the names above for an id and one for a
      text. Quotes are text.

    Args:
        path: the corpus, plain or ``.gz``; or a folder that holds ``corpus.jsonl`` (plain or ``.gz``).

    Yields:
        The passages in the order of the file.

    Raises:
        InputError: malformed lines, a passage without id or text column, a docno that comes twice, or an empty
            file; and as for :func:`limrank_ir.formats.files.lines`.
    """
    seen: set[str] = set()
    for place, passage in _placed(path):
        if passage.docno in seen:
            raise InputError(f"{place}: docno {passage.docno!r} again; give every passage its own")
        seen.add(passage.docno)
        yield passage


def read_passages(path: str | PathLike[str], docnos: Collection[str]) -> dict[str, Passage]:
    """Read some passages; the others are streamed past, so that a large corpus needs little memory.

    Args:
        path: the corpus, as for :func:`iter_corpus`.
        docnos: the passages that are wanted.

    Returns:
        docno to passage, in the order of the corpus.

    Raises:
        InputError: a wanted passage is missing, is there twice, or has no text; and as for :func:`iter_corpus`.
    """
    wanted = dict.fromkeys(docnos)
    found: dict[str, Passage] = {}
    for place, passage in _placed(path):
        if passage.docno not in wanted:
            continue
        if passage.docno in found:
            raise InputError(f"{place}: docno {passage.docno!r} again; give every passage its own")
        if not passage.reader_text.strip():
            raise InputError(f"{place}: passage {passage.docno!r} has no text; add it or leave the passage out")
        found[passage.docno] = passage
    missing = [docno for docno in wanted if docno not in found]
    if missing:
        some = ", ".join(repr(docno) for docno in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{path}: {len(missing)} of {len(wanted)} passages are not in this corpus ({some}); "
            "give the corpus that they come from"
        )
    return found


_LAYOUTS = {2: ("docno", "text"), 3: ("docno", "title", "text")}


def _placed(path: str | PathLike[str]) -> Iterator[tuple[str, Passage]]:
    """Stream a corpus as (place in the file, passage); docnos may repeat."""
    mark, stream = sniff(find(path, ("corpus.jsonl", "corpus.jsonl.gz")))
    for place, record in records(mark, stream, _LAYOUTS, DOCUMENT_ID, TEXT):
        docno, text = need_json_text(place, record, DOCUMENT_ID), need_json_text(place, record, TEXT)
        if not docno.strip():
            raise InputError(f"{place}: empty docno; give the passage an id")
        yield place, Passage(docno, text, json_text(place, record, ("title",)) or None)
