"""The first stage: a run of any kind, checked against the task, without its excluded ids."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.formats.files import sniff
from limrank_ir.formats.trec import read_run, trec_order
from limrank_ir.formats.words import some

from ..systems.system import ScoredRun
from .data import TaskData, as_docno, docnos


def read_scores(file: Path) -> ScoredRun:
    """Read a run: TREC, or the JSON that BRIGHT, Rank1, and LimRank publish, ``{qid: {docno: score}}``.

    Args:
        file: the run, plain or ``.gz``.

    Returns:
        qid to (docno, score) pairs, in trec_eval's order.

    Raises:
        InputError: it is malformed, empty, or cannot be read.
    """
    mark, stream = sniff(file)
    if mark != "{":
        return {
            qid: [(entry.docno, entry.score) for entry in entries]
            for qid, entries in read_run(file, spaces=True).items()
        }
    try:
        found = json.loads("\n".join(line for _, line in stream))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: malformed JSON ({error}); give {{qid: {{docno: score}}}}, or a TREC run") from error
    run: ScoredRun = {}
    for qid, scores in found.items():
        if not isinstance(scores, dict) or not all(map(_is_score, scores.values())):
            raise InputError(f"{file}: query {qid!r}: not {{docno: score}} with finite scores; check how it was made")
        run[qid] = trec_order((as_docno(docno), float(score)) for docno, score in scores.items())
    if not run:
        raise InputError(f"{file}: empty run; check the first stage that made it")
    return run


def _is_score(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_run(file: Path, run: Mapping[str, object], data: TaskData) -> None:
    """Check that a run has the task's queries.

    Args:
        file: the run's file, for messages.
        run: qid to anything.
        data: the task.

    Raises:
        InputError: the run has other queries, or lacks some. It may have those that are not judged.
    """
    known = data.queries.keys()
    missing = [qid for qid in known if qid not in run]
    if len(missing) == len(known):
        raise InputError(f"{file}: has none of the queries of {data.task}; is it a run of this task?")
    unknown = [qid for qid in run if qid not in known and qid not in data.unjudged]
    if not missing and not unknown:
        return
    what = "more" if unknown else "fewer"
    names = unknown or missing
    raise InputError(
        f"{file}: {len(run)} queries, where {data.task} has {len(known)}: {len(names)} {what} ({some(names)}); "
        "give a whole run of the same revision of BRIGHT "
        "(theoremqa_questions has 194 or 205 queries, depending on the revision)"
    )


def check_documents(file: Path, run: ScoredRun, data: TaskData) -> None:
    """Check that the candidates are documents of the task.

    Args:
        file: the run's file, for messages.
        run: the candidates.
        data: the task.

    Raises:
        InputError: some are not in the corpus.
    """
    wanted = dict.fromkeys(docno for scored in run.values() for docno, _ in scored)
    known = docnos(data)
    if missing := [docno for docno in wanted if docno not in known]:
        raise InputError(
            f"{file}: {len(missing)} of {len(wanted)} documents are not in the corpus of {data.task} "
            f"({some(missing)}); give a run over {data.source}, or the data that it was made with (--data)"
        )


def top(run: ScoredRun, excluded: Mapping[str, Set[str]], k: int) -> ScoredRun:
    """The candidates: the best documents of each query, after its excluded ids were removed.

    The official code removes them before its cutoff (github xlang-ai/BRIGHT: retrievers.py); mteb's BrightRetrieval
    does not remove them at all.

    Args:
        run: qid to (docno, score) pairs.
        excluded: qid to docnos.
        k: documents of each query.

    Returns:
        The same, in trec_eval's order, without queries that have no document left.
    """
    cut = {}
    for qid, scored in run.items():
        removed = excluded.get(qid, frozenset())
        cut[qid] = trec_order(pair for pair in scored if pair[0] not in removed)[:k]
    return {qid: scored for qid, scored in cut.items() if scored}


def removed(run: ScoredRun, excluded: Mapping[str, Set[str]]) -> int:
    """How many documents of a run are excluded."""
    return sum(docno in excluded.get(qid, frozenset()) for qid, scored in run.items() for docno, _ in scored)
