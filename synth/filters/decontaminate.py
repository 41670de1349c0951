"""No query that a benchmark has: no word 8-gram in common, and no query that is the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from limrank_ir.formats.files import json_object, json_text, sniff

from ..records import Query
from ..words import ngrams
from . import Sifted, sift

GRAM = 8


def uncontaminated(queries: Sequence[Query], benchmarks: Iterable[str]) -> Sifted[Query]:
    """Keep queries that no benchmark has.

    Args:
        queries: the queries.
        benchmarks: the benchmarks' queries.
    """
    theirs = {gram for query in benchmarks for gram in ngrams(query, GRAM)}
    return sift(queries, lambda query: "in a benchmark" if theirs & set(ngrams(query.text, GRAM)) else None)


def read_benchmarks(paths: Iterable[Path]) -> list[str]:
    """Read benchmark queries.

    Args:
        paths: JSONL with ``query`` or ``text``, or lines of ``qid<TAB>query``, or a query a line; plain or ``.gz``.

    Raises:
        InputError: a file cannot be read.
    """
    found = []
    for path in paths:
        mark, rows = sniff(path)
        for place, line in rows:
            if mark == "{":
                found.append(json_text(place, json_object(place, line), ("query", "text", "title")) or "")
            else:
                found.append(line.split("\t")[-1])
    return [query for query in found if query.strip()]
