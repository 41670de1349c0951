"""Rerank Pyserini's hits and runs with LimRank. The results work with Pyserini's output writers.

Pyserini (https://github.com/castorini/pyserini) is imported only if the source is the path of a Lucene index. A process
has only one JVM, so do not use PyTerrier's Java engine in the same process.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage, read_passages
from limrank_ir.formats.files import filled
from limrank_ir.formats.records import TEXT
from limrank_ir.formats.topics import Topic, read_topics
from limrank_ir.formats.trec import RunEntry, read_run
from limrank_ir.formats.words import some
from limrank_ir.ranking.candidates import Passages, gather, read_excluded
from limrank_ir.ranking.fusion import FIRST_STAGE, Fuse, Scores, fusion_weights
from limrank_ir.ranking.windows import Windows
from limrank_ir.reranker import LimRank
from limrank_ir.retrieval.java import leave_ctrl_c_to_python

_TAG = re.compile(r"<[!/?]?[a-zA-Z][^<>]*>")


class Hit(NamedTuple):
    """A reranked document. Pyserini's output writers read `docid` and `score`.

    Attributes:
        docid: the document's id.
        score: the score that it is ranked by: log-odds, or the fused score.
        first_stage: its score in the first stage.
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
    fuse: Fuse = False,
    fuse_with: Mapping[str, Iterable[Any]] = MappingProxyType({}),
    windows: Windows | None = None,
) -> list[Hit]:
    """Rerank the hits of one query. For many queries, `rerank_run` is faster.

    Args:
        query: the query.
        hits: objects with ``docid`` and ``score``, best first, such as the results of ``LuceneSearcher.search`` and
            ``FaissSearcher.search``. A repeated document counts once, with its best score.
        source: where the texts are (`texts_of`). For hits of a dense index, give the searcher of a Lucene index of the
            same corpus.
        limrank: the reranker, which you can reuse for the next query; None: a new ``LimRank()``.
        k: judge the first k hits and drop the others.
        instruction: what counts as relevant.
        exclude: a list or set of ids to leave out, before the cutoff at `k`.
        fuse: rank by the model's and the hits' scores together (`limrank_ir.fuse`): True, the model's weight, or the
            weights of ``"first_stage"`` (the hits), each name of `fuse_with`, and ``"limrank"`` (the model).
        fuse_with: name to the hits of another search for this query, whose scores are fused, too. It adds no documents;
            one that it lacks has its lowest score.
        windows: split long documents, and rank each by its best window (`limrank_ir.ranking.windows.Windows`).

    Returns:
        The reranked hits, best first.

    Raises:
        InputError: the query is empty, something in `hits` is not a hit, a document or its text is missing, or
            `exclude` is not a list.
        LimRankError: as for `limrank_ir.LimRank.judge`.

    Example:
        >>> limrank = LimRank()  # doctest: +SKIP
        >>> hits = rerank_hits(query, searcher.search(query, k=100), searcher, limrank=limrank)  # doctest: +SKIP
    """
    excluded = _ids(exclude)
    entries = [entry for entry in _entries("", hits) if entry.docno not in excluded]
    if not entries:
        return []
    topics = {"": Topic("", query, instruction)}
    others = {name: {"": _best(_entries("", found))} for name, found in fuse_with.items()}
    return _rerank(
        {"": entries}, topics, source, limrank or LimRank(), k=k, fuse=fuse, fuse_with=others, windows=windows
    )[""]


def rerank_run(
    run: str | PathLike[str] | Mapping[Any, Iterable[Any]],
    topics: str | PathLike[str] | Mapping[Any, Any],
    source: Any,
    *,
    limrank: LimRank | None = None,
    k: int = 100,
    exclude: str | PathLike[str] | Mapping[Any, Collection[str]] | None = None,
    fuse: Fuse = False,
    fuse_with: Mapping[str, str | PathLike[str] | Mapping[Any, Iterable[Any]]] = MappingProxyType({}),
    windows: Windows | None = None,
    show_progress_bar: bool = False,
) -> dict[str, list[Hit]]:
    """Rerank many queries at once.

    Args:
        run: the path of a TREC run, or a mapping from qid to hits, as ``LuceneSearcher.batch_search`` returns (see
            `rerank_hits`).
        topics: the path of a topics file (`limrank_ir.formats.topics.read_topics`), or a mapping from qid to query, or
            to ``{"title": query}`` as Pyserini's ``get_topics`` returns. Integer qids become strings.
        source: where the texts are (`texts_of`).
        limrank: the reranker; None: a new ``LimRank()``. With a `store`, an interrupted call can continue.
        k: judge the best k documents of each query and drop the others.
        exclude: documents to leave out, before the cutoff at `k`, as in BRIGHT: the path of a file
            (`limrank_ir.ranking.candidates.read_excluded`), or a mapping from qid to a list of ids.
        fuse: rank by the model's and the run's scores together (`limrank_ir.fuse`): True, the model's weight, or the
            weights of ``"first_stage"`` (the run), each name of `fuse_with`, and ``"limrank"`` (the model).
        fuse_with: name to another run, whose scores are fused, too. It adds no documents; one that it lacks has its
            lowest score for the query.
        windows: split long documents, and rank each by its best window (`limrank_ir.ranking.windows.Windows`).
        show_progress_bar: draw a progress bar on stderr.

    Returns:
        A mapping from qid, in the order of the run, to its documents, best first.

    Raises:
        InputError: something in the files is wrong or missing.
        LimRankError: as for `limrank_ir.LimRank.judge`.
    """
    entries = _run(run)
    return _rerank(
        {qid: lines for qid, lines in entries.items() if lines},
        _topics(topics),
        source,
        limrank or LimRank(),
        k=k,
        excluded=_excluded(exclude),
        fuse=fuse,
        fuse_with={
            name: {qid: _best(lines) for qid, lines in _run(other).items() if lines}
            for name, other in fuse_with.items()
        },
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
    fuse: Fuse = False,
    fuse_with: Mapping[str, Scores] = MappingProxyType({}),
    windows: Windows | None = None,
    show_progress_bar: bool = False,
) -> dict[str, list[Hit]]:
    weights = fusion_weights(fuse, [FIRST_STAGE, *fuse_with], limrank.model)
    if weights is None and fuse_with:
        raise InputError("fuse_with has no effect without fuse; add fuse=True, or leave it out")
    candidates = gather(run, topics, texts_of(source), k=k, excluded=excluded, windows=windows)
    candidates.check_fused(fuse_with)
    verdicts = limrank.judge(candidates.pairs(), show_progress_bar=show_progress_bar)
    return {
        qid: [Hit(found.docno, found.score, found.first_stage, found.verdict.reasoning) for found in documents]
        for qid, documents in candidates.ranking(verdicts, weights, fuse_with).items()
    }


def texts_of(source: Any) -> Passages:
    """A function that looks up the texts of documents.

    Args:
        source: a Pyserini searcher (an object with ``doc(docid)``); the folder of a Lucene index; a corpus
            (`limrank_ir.formats.corpus.iter_corpus`); or a mapping from docid to text, or to a record such as
            ``{"title": ..., "text": ...}``.

    Returns:
        A function from docids to their passages.

    Raises:
        InputError: Pyserini is needed but not installed, or the index cannot be opened.
    """
    if isinstance(source, Mapping):
        return partial(_from_mapping, source)
    if hasattr(source, "doc"):
        return partial(_from_searcher, source)
    return index_texts(source) if any(Path(source).glob("segments_*")) else partial(read_passages, source)


def index_texts(index: str | PathLike[str]) -> Passages:
    """A function that looks up the texts stored in a Lucene index.

    Args:
        index: the folder of the index.

    Returns:
        A function from docids to their passages.

    Raises:
        InputError: Pyserini is not installed, or the index cannot be opened.
    """
    if not any(Path(index).glob("segments_*")):
        raise InputError(f"{index}: not a Lucene index; give the folder that pyserini.index.lucene wrote")
    try:
        leave_ctrl_c_to_python()
        from pyserini.search.lucene import LuceneSearcher
    except ImportError as error:
        raise InputError(f'{index}: a Lucene index needs Pyserini; run: pip install "limrank-ir[pyserini]"') from error
    try:
        return partial(_from_searcher, LuceneSearcher(str(index)))
    except Exception as error:
        raise InputError(f"{index}: cannot be opened as a Lucene index ({error})") from error


def stored_passage(docid: str, raw: str) -> Passage:
    """The passage in a document that is stored in a Lucene index.

    Args:
        docid: the document's id.
        raw: JSON with a text (`limrank_ir.formats.records.TEXT`) and, optionally, a ``title``, as in the collections of
            Anserini and BEIR; markup (HTML, TREC's SGML), from which tags are removed; or plain text.

    Returns:
        The passage. Its text is `raw` if that has none of these forms.
    """
    try:
        record = json.loads(raw)
    except ValueError:
        return Passage(docid, html.unescape(_TAG.sub(" ", raw)).strip() if raw.lstrip().startswith("<") else raw)
    found = _recorded(docid, record) if isinstance(record, Mapping) else None
    return Passage(docid, raw) if found is None else found


def _recorded(docid: str, record: Mapping[str, Any]) -> Passage | None:
    """The passage in a record, or None if it has no text."""
    texts = {name: record[name] for name in ("title", *TEXT) if isinstance(record.get(name), str)}
    key = filled(texts, TEXT)
    return None if key is None else Passage(docid, texts[key], texts.get("title") or None)


def _run(run: str | PathLike[str] | Mapping[Any, Iterable[Any]]) -> Mapping[str, list[RunEntry]]:
    if not isinstance(run, Mapping):
        return read_run(run)
    return {str(qid): _entries(qid, hits) for qid, hits in run.items()}


def _best(entries: Iterable[RunEntry]) -> dict[str, float]:
    """The best score of each document."""
    found: dict[str, float] = {}
    for entry in entries:
        found[entry.docno] = max(entry.score, found.get(entry.docno, entry.score))
    return found


def _entries(qid: Any, hits: Iterable[Any]) -> list[RunEntry]:
    try:
        return [RunEntry(str(qid), str(hit.docid), rank, float(hit.score), "") for rank, hit in enumerate(hits, 1)]
    except (AttributeError, TypeError, ValueError) as error:
        query = f"query {str(qid)!r}: " if qid != "" else ""
        raise InputError(f"{query}not hits ({error}); give objects with docid and score") from error


def _ids(ids: Any, qid: str = "") -> set[str]:
    """Ids as a set of strings. A single string is refused, because it could be one id or the path of a file."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        query = f"query {qid!r}: " if qid else ""
        raise InputError(f"exclude: {query}{ids!r} is not a list of ids; write [{ids!r}]")
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
        raise InputError(f"topics: {qid!r} has no query; give its text, or {{'title': text}}")
    return Topic(qid, text)


def _excluded(exclude: Any) -> Collection[tuple[str, str]]:
    if exclude is None:
        return frozenset()
    if isinstance(exclude, Mapping):
        return {(str(qid), docid) for qid, docids in exclude.items() for docid in _ids(docids, str(qid))}
    return read_excluded(exclude)


def _from_mapping(texts: Mapping[str, Any], docids: Collection[str]) -> Mapping[str, Passage]:
    def passage(docid: str) -> Passage | None:
        value = texts.get(docid)
        if value is None:
            return None
        if isinstance(value, str):
            return Passage(docid, value)
        found = _recorded(docid, value) if isinstance(value, Mapping) else None
        if found is None:
            raise InputError(f"texts: document {docid!r} has no text; give a text, or a record with {', '.join(TEXT)}")
        return found

    return _all_passages(docids, passage, "texts")


def _from_searcher(searcher: Any, docids: Collection[str]) -> Mapping[str, Passage]:
    def passage(docid: str) -> Passage | None:
        document = searcher.doc(docid)
        if document is None:
            return None
        raw = document.raw()
        if raw is None:
            raise InputError(f"index: document {docid!r} has no stored text; build the index with --storeRaw")
        return stored_passage(docid, raw)

    return _all_passages(docids, passage, "index")


def _all_passages(docids: Collection[str], passage: Callable[[str], Passage | None], name: str) -> dict[str, Passage]:
    """Look up passages.

    Raises:
        InputError: some are missing or empty.
    """
    found: dict[str, Passage] = {}
    missing: list[str] = []
    for docid in dict.fromkeys(docids):
        document = passage(docid)
        if document is None:
            missing.append(docid)
        else:
            found[docid] = document
    if missing:
        raise InputError(
            f"{name}: {len(missing)} of {len(missing) + len(found)} documents are missing ({some(missing)}); give the "
            f"{name} that the run was made from"
        )
    if empty := [docid for docid, document in found.items() if not document.reader_text.strip()]:
        raise InputError(f"{name}: {len(empty)} of {len(found)} documents have no text ({some(empty)}); exclude them")
    return found
