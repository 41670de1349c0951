"""LimRank behind Pyserini: hits and runs, reranked, in the shape that Pyserini's own writers take.

Pyserini (https://github.com/castorini/pyserini) is imported only where the path of a Lucene index is given; a process
has one JVM, so do not use PyTerrier's Java engine beside it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage, read_passages
from limrank_ir.formats.files import filled
from limrank_ir.formats.records import TEXT
from limrank_ir.formats.topics import Topic, read_topics
from limrank_ir.formats.trec import RunEntry, read_run
from limrank_ir.formats.words import some
from limrank_ir.ranking.candidates import Passages, gather, read_excluded
from limrank_ir.ranking.fusion import fusion_weight
from limrank_ir.ranking.windows import Windows
from limrank_ir.reranker import LimRank

_TAG = re.compile(r"<[!/?]?[a-zA-Z][^<>]*>")


class Hit(NamedTuple):
    """A reranked document; Pyserini's output writers read its `docid` and `score`.

    Attributes:
        docid: its id.
        score: what it is ranked by: log-odds, or the fused score.
        first_stage: its score before.
        reasoning: the model's thought, or None.
    """

    docid: str
    score: float
    first_stage: float
    reasoning: str | None


def rerank_hits(
    query: str,
    hits: Iterable[Any],
    source: Any,
    *,
    limrank: LimRank | None = None,
    k: int = 1000,
    instruction: str | None = None,
    exclude: Collection[str] = (),
    fuse: bool | float = False,
    windows: Windows | None = None,
) -> list[Hit]:
    """Rerank the hits of one query; many queries are faster together (`rerank_run`).

    Args:
        query: the query.
        hits: objects with ``docid`` and ``score``, such as those of ``LuceneSearcher.search`` and
            ``FaissSearcher.search``, best first. A document that comes again counts once, with its best score.
        source: where the text is (`texts_of`); for the hits of a dense index, the searcher of a Lucene index of the
            same corpus.
        limrank: the reranker, to be kept for the next query; None: a new ``LimRank()``.
        k: judge the first k hits; the others are left out.
        instruction: what counts as relevant.
        exclude: ids to leave out, before the cutoff at `k`; a list or set, even of one.
        fuse: rank by the model's scores and the hits' own together (`limrank_ir.fuse`).
        windows: split long documents, and rank each by its best part (`limrank_ir.ranking.windows.Windows`).

    Returns:
        The reranked hits, best first; none for no hits.

    Raises:
        InputError: the query is empty, a hit is none, a document or its text is missing, `exclude` is a single text,
            or the model cannot be used.

    Example:
        >>> limrank = LimRank()  # doctest: +SKIP
        >>> hits = rerank_hits(query, searcher.search(query, k=100), searcher, limrank=limrank)  # doctest: +SKIP
    """
    without = _ids(exclude)
    entries = [entry for entry in _entries("", hits) if entry.docno not in without]
    if not entries:
        return []
    topics = {"": Topic("", query, instruction)}
    return _rerank({"": entries}, topics, source, limrank or LimRank(), k=k, fuse=fuse, windows=windows)[""]


def rerank_run(
    run: str | PathLike[str] | Mapping[Any, Iterable[Any]],
    topics: str | PathLike[str] | Mapping[Any, Any],
    source: Any,
    *,
    limrank: LimRank | None = None,
    k: int = 100,
    exclude: str | PathLike[str] | Mapping[Any, Collection[str]] | None = None,
    fuse: bool | float = False,
    windows: Windows | None = None,
    show_progress_bar: bool = False,
) -> dict[str, list[Hit]]:
    """Rerank many queries at once.

    Args:
        run: a TREC run, or qid to hits, as ``LuceneSearcher.batch_search`` gives (see `rerank_hits`).
        topics: a file (`limrank_ir.formats.trec.read_topics`), or qid to query, or to ``{"title": query}`` as
            Pyserini's ``get_topics`` gives; its integer qids become strings.
        source: where the text is (`texts_of`).
        limrank: the reranker; None: ``LimRank()``. With a `store` a killed call goes on where it was.
        k: judge the best k documents of each query; the others are left out.
        exclude: a file (`limrank_ir.ranking.candidates.read_excluded`) or qid to a list of ids: documents to leave
            out, before the cutoff at `k`; BRIGHT has such.
        fuse: rank by the model's scores and the run's own together (`limrank_ir.fuse`).
        windows: split long documents, and rank each by its best part (`limrank_ir.ranking.windows.Windows`).
        show_progress_bar: draw a progress bar on stderr.

    Returns:
        qid to its documents, best first, in the order of the run.

    Raises:
        InputError: something in the files is wrong or missing, or the model cannot be used.
    """
    entries = {qid: _entries(qid, hits) for qid, hits in run.items()} if isinstance(run, Mapping) else read_run(run)
    return _rerank(
        {str(qid): lines for qid, lines in entries.items() if lines},
        _topics(topics),
        source,
        limrank or LimRank(),
        k=k,
        excluded=_excluded(exclude),
        fuse=fuse,
        windows=windows,
        show_progress_bar=show_progress_bar,
    )


def _rerank(
    run: Mapping[str, list[RunEntry]],
    topics: Mapping[str, Topic],
    source: Any,
    limrank: LimRank,
    *,
    k: int,
    excluded: Collection[tuple[str, str]] = frozenset(),
    fuse: bool | float = False,
    windows: Windows | None = None,
    show_progress_bar: bool = False,
) -> dict[str, list[Hit]]:
    weight = fusion_weight(fuse, limrank.model.fuse)
    candidates = gather(run, topics, texts_of(source), k=k, excluded=excluded, windows=windows)
    verdicts = limrank.judge(candidates.pairs(), show_progress_bar=show_progress_bar)
    return {
        qid: [Hit(found.docno, found.score, found.first_stage, found.verdict.reasoning) for found in documents]
        for qid, documents in candidates.ranking(verdicts, weight).items()
    }


def texts_of(source: Any) -> Passages:
    """Where the text of documents is.

    Args:
        source: a Pyserini searcher (an object with ``doc(docid)``); the folder of a Lucene index; a corpus
            (`limrank_ir.formats.corpus.iter_corpus`); or docid to text, or to a record such as
            ``{"title": ..., "text": ...}``.

    Returns:
        A function from docids to their passages.

    Raises:
        InputError: Pyserini is needed and missing, or the index cannot be opened.
    """
    if isinstance(source, Mapping):
        return partial(_from_mapping, source)
    if hasattr(source, "doc"):
        return partial(_from_searcher, source)
    return index_texts(source) if any(Path(source).glob("segments_*")) else partial(read_passages, source)


def index_texts(index: str | PathLike[str]) -> Passages:
    """The texts that a Lucene index stores.

    Args:
        index: its folder.

    Returns:
        A function from docids to their passages.

    Raises:
        InputError: Pyserini is missing, or the index cannot be opened.
    """
    if not any(Path(index).glob("segments_*")):
        raise InputError(f"{index}: no Lucene index; give the folder that pyserini.index.lucene wrote")
    try:
        from pyserini.search.lucene import LuceneSearcher
    except ImportError as error:
        raise InputError(f'{index}: a Lucene index needs Pyserini; run: pip install "limrank-ir[pyserini]"') from error
    try:
        return partial(_from_searcher, LuceneSearcher(str(index)))
    except Exception as error:
        raise InputError(f"{index}: cannot be opened as a Lucene index ({error})") from error


def stored_passage(docid: str, raw: str) -> Passage:
    """What a reranker reads of a document as Lucene stores it.

    Args:
        docid: its id.
        raw: JSON with a text (`limrank_ir.formats.records.TEXT`) and perhaps a ``title``, as Anserini's collections and
            BEIR's have; markup (HTML, TREC's SGML), whose tags are taken out; or plain text.

    Returns:
        The passage; its text is `raw` where nothing else can be told.
    """
    try:
        record = json.loads(raw)
    except ValueError:
        return Passage(docid, html.unescape(_TAG.sub(" ", raw)).strip() if raw.lstrip().startswith("<") else raw)
    found = _recorded(docid, record) if isinstance(record, Mapping) else None
    return Passage(docid, raw) if found is None else found


def _recorded(docid: str, record: Mapping[str, Any]) -> Passage | None:
    """The passage of a record, or None: it has no text."""
    texts = {name: record[name] for name in ("title", *TEXT) if isinstance(record.get(name), str)}
    key = filled(texts, TEXT)
    return None if key is None else Passage(docid, texts[key], texts.get("title") or None)


def _entries(qid: Any, hits: Iterable[Any]) -> list[RunEntry]:
    try:
        return [RunEntry(str(qid), str(hit.docid), rank, float(hit.score), "") for rank, hit in enumerate(hits, 1)]
    except (AttributeError, TypeError, ValueError) as error:
        query = f"query {str(qid)!r}: " if qid != "" else ""
        raise InputError(f"{query}not hits ({error}); give objects with a docid and a score") from error


def _ids(ids: Any, qid: str = "") -> set[str]:
    """Ids as a set of texts. A single text is refused: is it one id, or a file of ids?"""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise InputError(f"exclude: {f'{qid!r}: ' if qid else ''}{ids!r} is no list of ids; write [{ids!r}]")
    return {str(docid) for docid in ids}


def _topics(topics: Any) -> Mapping[str, Topic]:
    if not isinstance(topics, Mapping):
        return read_topics(topics)
    return {str(qid): _topic(str(qid), topic) for qid, topic in topics.items()}


def _topic(qid: str, topic: Any) -> Topic:
    if isinstance(topic, Topic):
        return topic
    text = topic.get("title") if isinstance(topic, Mapping) else topic
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"topics: {qid!r} has no query; give a text, or {{'title': text}}")
    return Topic(qid, text)


def _excluded(exclude: Any) -> Collection[tuple[str, str]]:
    if exclude is None:
        return frozenset()
    if isinstance(exclude, Mapping):
        return {(str(qid), docid) for qid, docids in exclude.items() for docid in _ids(docids, str(qid))}
    return read_excluded(exclude)


def _from_mapping(texts: Mapping[str, Any], docids: Collection[str]) -> Mapping[str, Passage]:
    def passage(docid: str) -> Passage | None:
        given = texts.get(docid)
        found = Passage(docid, given) if isinstance(given, str) else None
        found = _recorded(docid, given) if isinstance(given, Mapping) else found
        if given is not None and found is None:
            raise InputError(f"texts: document {docid!r} has no text; give a text, or a record with {', '.join(TEXT)}")
        return found

    return _all_there(docids, passage, "texts")


def _from_searcher(searcher: Any, docids: Collection[str]) -> Mapping[str, Passage]:
    def passage(docid: str) -> Passage | None:
        document = searcher.doc(docid)
        if document is None:
            return None
        raw = document.raw()
        if raw is None:
            raise InputError(f"index: document {docid!r} has no stored text; build the index with --storeRaw")
        return stored_passage(docid, raw)

    return _all_there(docids, passage, "index")


def _all_there(docids: Collection[str], passage: Callable[[str], Passage | None], name: str) -> dict[str, Passage]:
    found = {docid: passage(docid) for docid in docids}
    if missing := [docid for docid, given in found.items() if given is None]:
        raise InputError(
            f"{name}: {len(missing)} of {len(found)} documents are not in it ({some(missing)}); give the one that the "
            "run was made from"
        )
    there = {docid: given for docid, given in found.items() if given is not None}
    if empty := [docid for docid, given in there.items() if not given.reader_text.strip()]:
        raise InputError(f"{name}: {len(empty)} of {len(found)} documents have no text ({some(empty)}); exclude them")
    return there
