"""RankLLM requests: reading and checking them, and the text of their candidates."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import filled, json_records
from limrank_ir.formats.records import DOCUMENT_ID, QUERY_ID, TEXT

if TYPE_CHECKING:
    from rank_llm.data import Candidate, Request

log = logging.getLogger("limrank_ir")

SHAPE = '{"query": {"text", "qid"}, "candidates": [{"docid", "score", "doc": {"text"}}]}'


def document_text(request: Request, place: int) -> str:
    """The text of a candidate: RankLLM's field precedence and title format, without its other changes to the text.

    Args:
        request: the request.
        place: the index of the candidate.

    Returns:
        The text, after ``"Title: {title} Content: "`` if there is a title. An empty field does not hide the text in a
        later one.

    Raises:
        InputError: the document has no text.
    """
    document = request.candidates[place].doc
    if isinstance(document, str) and document.strip():
        return document
    if isinstance(document, Mapping):
        key = filled(document, TEXT)
        text = None if key is None else document[key]
        if isinstance(text, str) and (text.strip() or document.get("title")):
            return f"Title: {document['title']} Content: {text}" if document.get("title") else text
    raise InputError(
        f"query {request.query.qid!r}: candidate {request.candidates[place].docid!r} has no text; give its doc one of: "
        f"{', '.join(TEXT)}"
    )


def checked(requests: Iterable[Request]) -> list[Request]:
    """Check that requests have a query and a list of candidates, and remove duplicate candidates.

    Args:
        requests: the requests, which are not changed.

    Returns:
        The requests, in order.

    Raises:
        InputError: a query is empty, or the candidates are not a list.
    """
    found, repeated = [], 0
    for number, request in enumerate(requests):
        text, candidates = request.query.text, request.candidates
        where = f"request {number} (qid {request.query.qid!r})"
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where} has no query; fix or remove it first")
        if isinstance(candidates, (str, bytes, Mapping)) or not isinstance(candidates, Iterable):
            raise InputError(f"{where}: candidates is {candidates!r:.40}; give a list of RankLLM's Candidate")
        listed = list(candidates)
        distinct = _distinct(listed)
        repeated += len(listed) - len(distinct)
        found.append(replace(request, candidates=distinct))
    if repeated:
        log.warning("requests: %d candidates are repeated for the same query and count once", repeated)
    return found


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Keep the first of equal candidates. Two texts with one id are two passages of a document."""
    kept: dict[Any, list[Candidate]] = {}
    found = []
    for candidate in candidates:
        others = kept.setdefault(candidate.docid, [])
        if all(other.doc != candidate.doc for other in others):
            others.append(candidate)
            found.append(candidate)
    return found


def read_requests(path: str | PathLike[str]) -> list[Request]:
    """Read requests like RankLLM's ``read_requests_from_file``, but also accept a ``doc`` that is a string.

    Anserini's ``ExtractQueriesAndDocumentsFromTrecRun`` writes such files, which RankLLM's reader refuses. Ids may
    have other names (`limrank_ir.formats.records`), and a candidate may be just a string, as on RankLLM's command line.

    Args:
        path: JSONL, or one JSON list; plain or ``.gz``.

    Returns:
        The requests; a string becomes ``{"contents": text}``.

    Raises:
        InputError: the file cannot be read, or a request is malformed; the message says where.
    """
    from dacite import DaciteError, from_dict
    from rank_llm.data import Request

    found = []
    for place, record in json_records(path):
        candidates, query = record.get("candidates"), record.get("query")
        if not isinstance(candidates, list):
            shown = f"{json.dumps(candidates):.40}"
            raise InputError(f"{place}: not a request (candidates is {shown}, not a list); write {SHAPE}")
        record["candidates"] = [_candidate(place, number, candidate) for number, candidate in enumerate(candidates, 1)]
        if isinstance(query, dict) and (key := filled(query, QUERY_ID)):
            query.setdefault("qid", query[key])
        try:
            found.append(from_dict(Request, record))
        except DaciteError as error:
            raise InputError(f"{place}: not a request ({error!s:.200}); write {SHAPE}") from error
    return found


def _candidate(place: str, number: int, candidate: Any) -> dict[str, Any]:
    """A candidate in RankLLM's format, as far as its fields are known."""
    if isinstance(candidate, str):
        return {"docid": str(number), "score": 0.0, "doc": {"contents": candidate}}
    if not isinstance(candidate, dict):
        raise InputError(f"{place}: candidate {number} is {json.dumps(candidate):.40}, not an object; write {SHAPE}")
    key, document = filled(candidate, DOCUMENT_ID), candidate.get("doc")
    named = {} if key is None else {"docid": candidate[key]}
    return {**named, **candidate, "doc": {"contents": document} if isinstance(document, str) else document}
