"""Corpora: the passages of a collection, streamed from JSONL, TSV or a BEIR folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from os import PathLike
from typing import NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.files import find, json_object, json_text, need_json_text, sniff, tsv_columns


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

    - ``{``: JSONL with an id (``docno``, ``id``, ``_id``, ``docid``), a text (``text``, ``contents``, ``body``) and
      perhaps a ``title``.
    - else: ``docno<TAB>text`` or ``docno<TAB>title<TAB>text``.

    Args:
        path: the corpus, plain or ``.gz``; or a folder that holds ``corpus.jsonl`` (plain or ``.gz``).

    Yields:
        The passages in the order of the file.

    Raises:
        InputError: malformed lines, a passage without id or text column, a docno that comes twice, or an empty
            file; and as for :func:`limrank_ir.files.lines`.
    """
    seen: set[str] = set()
    for place, passage in _placed(path):
        if passage.docno in seen:
            raise InputError(f"{place}: docno {passage.docno!r} again; give every passage its own")
        seen.add(passage.docno)
        yield passage


def read_passages(path: str | PathLike[str], docnos: Collection[str]) -> dict[str, str]:
    """Read the texts of some passages; the others are streamed past, so that a large corpus needs little memory.

    Args:
        path: the corpus, as for :func:`iter_corpus`.
        docnos: the passages that are wanted.

    Returns:
        docno to :attr:`Passage.reader_text`, in the order of the corpus.

    Raises:
        InputError: a wanted passage is missing, is there twice, or has no text; and as for :func:`iter_corpus`.
    """
    wanted = dict.fromkeys(docnos)
    texts: dict[str, str] = {}
    for place, passage in _placed(path):
        if passage.docno not in wanted:
            continue
        if passage.docno in texts:
            raise InputError(f"{place}: docno {passage.docno!r} again; give every passage its own")
        text = passage.reader_text
        if not text.strip():
            raise InputError(f"{place}: passage {passage.docno!r} has no text; add it or leave the passage out")
        texts[passage.docno] = text
    missing = [docno for docno in wanted if docno not in texts]
    if missing:
        some = ", ".join(repr(docno) for docno in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{path}: {len(missing)} of {len(wanted)} passages are not in this corpus ({some}); "
            "give the corpus that they come from"
        )
    return texts


def _placed(path: str | PathLike[str]) -> Iterator[tuple[str, Passage]]:
    """Stream a corpus as (place in the file, passage); docnos may repeat."""
    first, stream = sniff(find(path, ("corpus.jsonl", "corpus.jsonl.gz")))
    read = _json_passage if first == "{" else _tsv_passage
    for place, line in stream:
        passage = read(place, line)
        if not passage.docno.strip():
            raise InputError(f"{place}: empty docno; give the passage an id")
        yield place, passage


def _json_passage(place: str, line: str) -> Passage:
    """Read one line of JSONL."""
    record = json_object(place, line)
    docno = need_json_text(place, record, ("docno", "id", "_id", "docid"))
    text = need_json_text(place, record, ("text", "contents", "body"))
    return Passage(docno, text, json_text(place, record, ("title",)) or None)


def _tsv_passage(place: str, line: str) -> Passage:
    """Read one line of two or three columns."""
    docno, *title, text = tsv_columns(place, line, "docno<TAB>[title<TAB>]text")
    return Passage(docno, text, "".join(title) or None)
