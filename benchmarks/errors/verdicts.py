"""Verdicts from the file that ``limrank rerank --explain`` writes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_records
from limrank_ir.llm.answers import replace_half_surrogates


class Judged(NamedTuple):
    """What the model said of a document.

    Attributes:
        log_odds: log P(true) - log P(false).
        probability: P(true).
        reasoning: its thought, if it is to be shown and not too long (`shortened`).
        finish: how the thought ended (`limrank_ir.verdict.Finish`).
    """

    log_odds: float
    probability: float | None
    reasoning: str | None
    finish: str | None


def shortened(text: str, limit: int) -> str:
    """Cut a text in the middle: its end, where a thought has its conclusion, stays.

    Args:
        text: the text.
        limit: the number of characters to keep.

    Returns:
        The text, which says how much is left out.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters are left out ...] {text[-half:]}"


def read_verdicts(
    path: Path, wanted: Mapping[str, Collection[str]], shown: Mapping[str, Collection[str]], *, limit: int
) -> dict[str, dict[str, Judged]]:
    """Read verdicts, line by line. Reasoning is only kept where it is shown.

    Args:
        path: JSONL with ``qid``, ``docno``, ``log_odds``, and optionally ``probability``, ``reasoning``, ``finish``.
        wanted: qid to the documents of the reranked run.
        shown: qid to the documents that are shown.
        limit: characters of a thought to keep.

    Returns:
        qid to docno to verdict.

    Raises:
        InputError: a malformed record, or no verdict on any of these documents.
    """
    found: dict[str, dict[str, Judged]] = {}
    for place, record in json_records(path):
        qid, docno = str(record.get("qid")), str(record.get("docno"))
        if docno not in wanted.get(qid, ()):
            continue
        log_odds = _number(place, record, "log_odds")
        if log_odds is None:
            raise InputError(f"{place}: no 'log_odds' in this record; give the file of limrank rerank --explain")
        reasoning = record.get("reasoning") if docno in shown.get(qid, ()) else None
        found.setdefault(qid, {})[docno] = Judged(
            log_odds,
            _number(place, record, "probability"),
            shortened(replace_half_surrogates(reasoning), limit) if isinstance(reasoning, str) else None,
            str(record["finish"]) if record.get("finish") else None,
        )
    if not found:
        raise InputError(f"{path}: no verdict on any document of the reranked run; give the --explain file of this run")
    return found


def _number(place: str, record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{place}: {name!r} is not a finite number; correct it")
    return float(value)
