"""Score public runs against official judgments, without documents or a model: ``limrank bench bright --check``."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limrank_ir.errors import EngineError, InputError
from limrank_ir.extras import need
from limrank_ir.formats.trec import read_qrels, write_qrels, write_run
from limrank_ir.formats.words import some
from limrank_ir.ranking.candidates import read_excluded
from limrank_ir.ranking.evaluate import evaluate, parse_measures

from ..markdown import Table
from ..systems.system import ScoredRun
from .bounds import best_order, random_order
from .data import as_docno
from .first_stage import read_scores, removed, top
from .measures import PRIMARY
from .published import AVERAGE_BEST, AVERAGE_NDCG, REASONIR, is_reasonir, qrels_hash, run_hash
from .task_files import task_file
from .versions import TASKS

log = logging.getLogger("limrank_ir")

BEST = (10, 20, 100)
RANDOM = (10, 100)
ALL = 10**9  # more documents than any run has
EXCLUDING = ("leetcode", "aops", "theoremqa_questions")  # the tasks with excluded ids


@dataclass(frozen=True)
class CheckedTask:
    """A task's values, from 0 to 1.

    Attributes:
        task: its name.
        run: the run's file.
        queries: judged queries.
        removed: excluded documents that were removed from the run; None if no excluded ids were found.
        ndcg: nDCG@10 of the run.
        best: k to nDCG@10 of the best order of the top k.
        random: k to the expected nDCG@10 of a random order of the top k.
        public: whether the run is, or is named like, one that has published values.
        same: whether run and judgments have the content that the published values belong to.
    """

    task: str
    run: Path
    queries: int
    removed: int | None
    ndcg: float
    best: dict[int, float]
    random: dict[int, float]
    public: bool
    same: bool


def check(runs: Path, qrels: Path, tasks: Sequence[str]) -> list[CheckedTask]:
    """Score the runs of a folder.

    Args:
        runs: a run for each task (`limrank_ir.benchmarks.bright.task_files.task_file`).
        qrels: judgments for each task, and excluded ids where there are some.
        tasks: the tasks; empty: those that have both files.

    Returns:
        The values of each task.

    Raises:
        InputError: a file is missing or malformed, or run and judgments are not of the same queries.
    """
    need("bench bright --check", "bench", "ir_measures", "scipy")
    only = len(tasks) == 1
    found = []
    for task in tasks or TASKS:
        run = task_file("--check", runs, task, "run", only=only)
        judgments = task_file("--check", qrels, task, "qrels", only=only)
        if run is not None and judgments is not None:
            excluded = task_file("--check", qrels, task, "excluded") if qrels.is_dir() else None
            found.append(_check_task(task, run, judgments, excluded))
        elif tasks or (run is None) != (judgments is None):
            what, place = ("run", runs) if run is None else ("judgments", qrels)
            raise InputError(f"--check {place}: no {what} for {task}; add the file, or leave the task out with --tasks")
    if not found:
        raise InputError(f"--check {runs} {qrels}: no file is named like a task of BRIGHT; check the folders")
    return found


def _check_task(task: str, file: Path, judgments: Path, excluded: Path | None) -> CheckedTask:
    run, qrels = read_scores(file), read_qrels(judgments)
    ids: dict[str, set[str]] = {}
    for qid, docno in read_excluded(excluded) if excluded else ():
        ids.setdefault(qid, set()).add(as_docno(docno))
    for qid, grades in qrels.items():
        ids.setdefault(qid, set()).update(docno for docno, grade in grades.items() if grade < 0)
    if len(missing := [qid for qid in qrels if qid not in run]) == len(qrels):
        raise InputError(f"{file}: has none of the queries of {judgments}; give judgments of the same task")
    if missing or len(run) > len(qrels):
        names = missing or [qid for qid in run if qid not in qrels]
        raise InputError(
            f"{file}: {len(run)} queries, but {judgments} has {len(qrels)} ({some(names)} are not in both); give "
            "judgments of the same revision (theoremqa_questions has 194 or 205 queries)"
        )
    if excluded is None and task in EXCLUDING:
        log.info("%s: no excluded ids beside the judgments; none are removed", task)
    kept = top(run, ids, ALL)
    published = REASONIR[task]
    digest = run_hash(run)
    return CheckedTask(
        task=task,
        run=file,
        queries=len(qrels),
        removed=removed(run, ids) if any(ids.values()) else None,
        ndcg=_ndcg(kept, qrels),
        best={k: best_order(_first(kept, k), qrels) for k in BEST},
        random={k: random_order(_first(kept, k), qrels) for k in RANDOM},
        public=is_reasonir(file, digest, published),
        same=digest == published.run and qrels_hash(qrels) == published.qrels,
    )


def _first(run: ScoredRun, k: int) -> dict[str, list[str]]:
    return {qid: [docno for docno, _ in scored[:k]] for qid, scored in run.items()}


def _ndcg(run: ScoredRun, qrels: dict[str, dict[str, int]]) -> float:
    with tempfile.TemporaryDirectory(prefix="limrank-bright-") as folder:
        write_run(Path(folder) / "run.txt", run, tag="check")
        write_qrels(Path(folder) / "qrels.txt", qrels)
        measures = parse_measures(PRIMARY)
        return evaluate(Path(folder) / "qrels.txt", [Path(folder) / "run.txt"], measures)[0].mean[PRIMARY]


def average(values: Sequence[float]) -> float:
    """The macro-average over tasks."""
    return math.fsum(values) / len(values)


def table(found: Sequence[CheckedTask]) -> Table:
    """The values times 100, with the published ones beside them: header and rows, the last one the average."""
    header = ["task", "queries", PRIMARY, "published"]
    header += [*(f"best of {k}" for k in BEST), *(f"random of {k}" for k in RANDOM), "excluded"]
    rows = []
    for one in found:
        row = [one.task, str(one.queries), f"{100 * one.ndcg:.2f}"]
        row.append(f"{REASONIR[one.task].ndcg:.2f}" if one.public else "")
        row += [f"{100 * value:.1f}" for value in (*one.best.values(), *one.random.values())]
        rows.append([*row, "" if one.removed is None else str(one.removed)])
    row = [f"average of {len(found)}", str(sum(one.queries for one in found)), f"{_average(found):.2f}"]
    row.append(f"{AVERAGE_NDCG:.2f}" if _complete(found) else "")
    row += [f"{100 * average([one.best[k] for one in found]):.1f}" for k in BEST]
    row += [f"{100 * average([one.random[k] for one in found]):.1f}" for k in RANDOM]
    return header, [*rows, [*row, ""]]


def _average(found: Sequence[CheckedTask]) -> float:
    return 100 * average([one.ndcg for one in found])


def _complete(found: Sequence[CheckedTask]) -> bool:
    return len(found) == len(TASKS) and all(one.public for one in found)


def compare(found: Sequence[CheckedTask]) -> None:
    """Compare with the published values, to the digit in which they are printed.

    Args:
        found: what `check` returned. Runs without published values are not compared.

    Raises:
        InputError: a file is named like a public one, but differs in its content and its values.
        EngineError: the content is the public one, but the values differ: this machine scores wrongly.
    """
    for one in found:
        if not one.public:
            continue
        published = REASONIR[one.task]
        pairs = [
            (PRIMARY, 100 * one.ndcg, published.ndcg, 2),
            ("best order of the top 10", 100 * one.best[10], published.best_10, 1),
            ("best order of the top 100", 100 * one.best[100], published.best_100, 1),
        ]
        for name, value, expected, digits in pairs:
            _compare(f"{one.run}: {name}", value, expected, digits, one.same)
    if _complete(found):
        same = all(one.same for one in found)
        _compare(f"average {PRIMARY}", _average(found), AVERAGE_NDCG, 2, same)
        for k, expected in AVERAGE_BEST.items():
            value = 100 * average([one.best[k] for one in found])
            _compare(f"average of the best order of the top {k}", value, expected, 1, same)


def _compare(what: str, value: float, expected: float, digits: int, same: bool) -> None:
    if abs(value - expected) <= 0.5 * 10**-digits + 1e-9:
        return
    difference = f"{what} is {value:.{digits}f}, published is {expected:.{digits}f}"
    if same:
        raise EngineError(f"{difference}, for the same files; check the versions of ir_measures and pytrec_eval")
    raise InputError(
        f"{difference}; the file is named like the public run, but run or judgments have other content: download them "
        "again, or rename the run"
    )
