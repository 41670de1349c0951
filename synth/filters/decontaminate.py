"""Keep benchmarks clean: drop queries that contain a query of a benchmark (`limrank_ir.workshop.contamination`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from limrank_ir.formats.files import json_text, sniff
from limrank_ir.formats.records import QUERY, QUERY_ID, records
from limrank_ir.formats.topics import read_topics
from limrank_ir.workshop.contamination import Benchmarks

from ..records import WrittenQuery
from . import Sifted, sift

_LAYOUTS = {1: ("query",), 2: ("qid", "query"), 3: ("qid", "query", "instruction")}


def uncontaminated(queries: Sequence[WrittenQuery], benchmarks: Iterable[str]) -> Sifted[WrittenQuery]:
    """Keep queries that contain no query of a benchmark.

    Args:
        queries: the queries.
        benchmarks: the queries of benchmarks.
    """
    theirs = Benchmarks(benchmarks)
    return sift(queries, lambda query: None if theirs.find(query.text) is None else "in a benchmark")


def read_benchmarks(paths: Iterable[Path]) -> list[str]:
    """Read the queries of benchmarks.

    Args:
        paths: topics in any format that `limrank_ir.formats.topics.read_topics` reads, or one query per line; plain or
            ``.gz``. Ids may be missing or repeated.

    Raises:
        InputError: a file cannot be read.
    """
    found: list[str] = []
    for path in paths:
        mark, stream = sniff(path)
        if mark == "<":
            found += [topic.query for topic in read_topics(path).values()]
            continue
        for place, record in records(mark, stream, _LAYOUTS, QUERY_ID, QUERY):
            found.append(json_text(place, record, QUERY) or "")
    return [query for query in found if query.strip()]
