"""The demo's collection: Python's own documentation strings, and questions with judgments.

Every machine that runs this package already has the text: about 5,400 passages, one for each documented module, class,
function, and method of the standard library, plus the language reference behind ``help("with")``. Each passage starts
with its name and signature, as in ``os.fsync(fd)``. The name is the docno.

The 100 questions (``queries.jsonl``) ask for what one of the passages does. The odd ones (q001, q003, ...) describe a
symptom in everyday words; the even ones use the words of a programmer who has heard of the answer. Every judgment holds
on Python 3.11, 3.12, and 3.13. What only one of them has is not judged. Four relevant passages are about calls that
exist only on Linux, such as ``select.epoll``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from typing import Any

from limrank_ir.demo import docstrings
from limrank_ir.formats.corpus import Passage


def passages() -> list[Passage]:
    """Build the collection, sorted by docno. This takes a second or two.

    An interpreter always gives the same passages, regardless of what the caller has imported and of the environment.

    Returns:
        The passages. No two have the same documentation, and none is shorter than 8 words.
    """
    # -I and -S: no environment variables, no site-packages, nothing that could change the standard library.
    command = [sys.executable, "-I", "-S", docstrings.__file__]
    child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return [Passage(docno, text) for docno, text in json.loads(child.stdout.splitlines()[-1]).items()]


def queries() -> list[tuple[str, str]]:
    """Read the questions.

    Returns:
        Pairs of qid and question.
    """
    return [(line["qid"], line["query"]) for line in _lines()]


def qrels() -> dict[str, dict[str, int]]:
    """Read the judgments.

    Returns:
        For each qid, the relevant docnos and their grades: 2 answers the question, 1 helps.
    """
    return {line["qid"]: dict(line["relevant"]) for line in _lines()}


def _lines() -> list[dict[str, Any]]:
    path = resources.files("limrank_ir.demo") / "queries.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
