"""Requests and answers as files, in the format of OpenAI's Batch API: half the price, and anything can answer them.

https://platform.openai.com/docs/guides/batch: a line per request, ``{custom_id, method, url, body}``, and a line per
answer, ``{custom_id, response: {status_code, body}, error}``, in any order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import json_records, replacing
from limrank_ir.llm.answers import Fault, check_answer
from limrank_ir.llm.journal import Answered, Journal, request_key

MOST = 50_000
"""The maximum number of requests in a batch at OpenAI."""
MOST_BYTES = 190_000_000
"""The maximum size of a file; OpenAI accepts 200 MB."""
_COMMIT = 1000  # answers in a transaction


def write_batch(
    path: Path, requests: Mapping[str, Mapping[str, Any]], *, most: int = MOST, most_bytes: int = MOST_BYTES
) -> list[Path]:
    """Write requests.

    Args:
        path: the file. Requests beyond the maximum go into more files next to it, ``NAME-2.jsonl`` and so on.
        requests: key to body.
        most: the maximum number of requests per file.
        most_bytes: the maximum size of a file.

    Returns:
        The files.

    Raises:
        InputError: a file cannot be written.
    """
    parts: list[list[str]] = []
    size = 0
    for key, body in requests.items():
        request = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        line = json.dumps(request, ensure_ascii=False) + "\n"
        size += len(line.encode())
        if not parts or len(parts[-1]) == most or size > most_bytes:
            parts.append([])
            size = len(line.encode())
        parts[-1].append(line)
    paths = []
    for number, lines in enumerate(parts, 1):
        paths.append(path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}"))
        with replacing(paths[-1]) as file:
            file.writelines(lines)
    return paths


def read_requests(path: Path) -> dict[str, dict[str, Any]]:
    """Read the requests that `write_batch` wrote.

    Args:
        path: the file.

    Returns:
        Key to body.

    Raises:
        InputError: the file cannot be read, or the key of a line does not match its body.
    """
    found = {}
    for place, record in json_records(path):
        body = record.get("body")
        if not isinstance(body, dict) or record.get("custom_id") != request_key(body):
            raise InputError(f"{place}: not a request from batch-write, or changed since; write the file again")
        found[record["custom_id"]] = body
    return found


def read_batch(
    path: Path, requests: Mapping[str, Mapping[str, Any]], journal: Journal, servers: Mapping[str, str]
) -> tuple[int, dict[str, int]]:
    """Put answers into the journal.

    Args:
        path: the provider's output file (or error file).
        requests: the requests, key to body.
        journal: where the answers go.
        servers: model to the server that its answers count for; those of a model without one count for any server.

    Returns:
        The number of answers taken, and reasons why others were not taken, with counts. Those can be asked for again.

    Raises:
        InputError: the file cannot be read, or has an answer to another request.
    """
    taken = 0
    left: Counter[str] = Counter()
    waiting: list[Answered] = []
    for place, key, record in _answers(path):
        if key not in requests:
            raise InputError(f"{place}: answers {key[:40]!r}, which was not asked; give the matching file of requests")
        try:
            answer = _answer(record)
        except Fault as fault:
            left[str(fault)] += 1
            continue
        taken += 1
        waiting.append(Answered(requests[key], answer, servers.get(requests[key].get("model", ""), "")))
        if len(waiting) >= _COMMIT:
            journal.put_all(waiting)
            waiting.clear()
    journal.put_all(waiting)
    return taken, dict(left)


def read_answers(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Read answers for a replay, keyed by request. Failed ones are left out.

    Args:
        paths: what providers returned, for any number of stages.

    Raises:
        InputError: a file cannot be read.
    """
    found = {}
    for path in paths:
        for _, key, record in _answers(path):
            with suppress(Fault):
                found[key] = _answer(record)
    return found


def _answers(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for place, record in json_records(path):
        if "response" not in record and "error" not in record:
            raise InputError(f"{place}: not a batch answer (no response or error); give the provider's output file")
        yield place, str(record.get("custom_id")), record


def _answer(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a line that the journal saves, checked like an answer from a server.

    Raises:
        Fault: it is not an answer.
    """
    response = record.get("response")
    if not isinstance(response, Mapping):
        return check_answer({"error": record.get("error")})
    return {**check_answer(response.get("body"), response.get("status_code")), "limrank_batch": True}
