"""Training queries that contain a query of `Data.exclude_topics`: whoever trains on them cannot measure there."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from limrank_ir.formats.trec import read_topics
from limrank_ir.workshop.contamination import Benchmarks


def held_back_queries(topics: tuple[Path, ...]) -> Benchmarks:
    """Read the queries that must not be trained on.

    Args:
        topics: topics files, `Data.exclude_topics`.

    Raises:
        InputError: a file cannot be read.
    """
    return _read(topics, tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in topics))


@lru_cache(maxsize=2)
def _read(topics: tuple[Path, ...], changed: tuple[int, ...]) -> Benchmarks:
    """Read and index the files once: a dry run draws its sources several times."""
    return Benchmarks(topic.query for path in topics for topic in read_topics(path).values())


def find_in_prompt(held_back: Benchmarks, prompt: str) -> str | None:
    """Find a held-back query in the prompt of a whole ranking, where the query may be anywhere.

    Args:
        held_back: the queries.
        prompt: the prompt, with passages.

    Returns:
        A query that the prompt or one of its lines contains, the latter with or without a label ("Query: "), or None.
    """
    lines = prompt.splitlines()
    parts = (prompt, *lines, *(re.sub(r"^[^:]*:", "", line) for line in lines))
    return next(filter(None, map(held_back.find, parts)), None)
