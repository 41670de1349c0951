"""A task's candidates: from the user's runs, or from the official BM25."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import read_run, write_run

from ..folder import read_json, write_json
from ..systems.system import ScoredRun
from . import bm25
from .data import TaskData, iter_documents
from .first_stage import check_documents, check_run, read_scores, removed, top
from .settings import BrightSettings
from .task_files import task_file

log = logging.getLogger("limrank_ir")

MEASURED = 100  # BRIGHT's deepest cutoff, for the first stage's own figures


@dataclass(frozen=True)
class Stage:
    """A task's candidates.

    Attributes:
        data: the task.
        run: qid to (docno, score) pairs in trec_eval's order, without excluded documents.
        removed: how many excluded documents the first stage had.
    """

    data: TaskData
    run: ScoredRun
    removed: int

    def first(self, k: int) -> ScoredRun:
        """The top k of each query."""
        return {qid: scored[:k] for qid, scored in self.run.items()}


def given_stage(data: TaskData, settings: BrightSettings) -> Stage:
    """The candidates from the user's run.

    Args:
        data: the task.
        settings: where the runs are, and how deep to go.

    Returns:
        The candidates.

    Raises:
        InputError: there is no run, it is malformed, or it does not fit the task.
    """
    place = Path(settings.first_stage).expanduser()
    file = task_file("--first-stage", place, data.task, "run", only=len(settings.chosen) == 1)
    if file is None:
        raise InputError(
            f"--first-stage {place}: no run for {data.task}; add it, leave the task out with --tasks, or give bm25"
        )
    run = read_scores(file)
    check_run(file, run, data)
    stage = _cut(data, {qid: run[qid] for qid in data.queries}, settings)
    check_documents(file, stage.run, data)
    deepest = max(settings.depths)
    if (longest := max(map(len, stage.run.values()))) < deepest:
        log.warning("%s: at most %d documents of a query, so the top %d are fewer", file, longest, deepest)
    return stage


def official_stage(data: TaskData, settings: BrightSettings, work: Path, analyze: bm25.Analyzer) -> Stage:
    """The candidates from the official BM25, from an earlier call if possible.

    Args:
        data: the task.
        settings: how deep to go.
        work: where the run is kept for the next call.
        analyze: text to terms.

    Returns:
        The candidates.
    """
    file, record = work / data.task / "bm25.run.gz", work / data.task / "bm25.json"
    key = {"data": data.fingerprint, "queries": settings.expansion, "k1": bm25.K1, "b": bm25.B, "hits": bm25.HITS}
    if not (file.exists() and record.exists() and read_json(record) == key):
        with console.progress(f"indexing {data.task}", data.count, "documents") as advance:
            found = bm25.query_side_bm25(iter_documents(data), data.expanded, data.excluded, analyze, advance=advance)
            write_run(file, dict(found), tag="bm25q")
        write_json(record, key)
    run = {qid: [(entry.docno, entry.score) for entry in entries] for qid, entries in read_run(file).items()}
    return _cut(data, run, settings)


def _cut(data: TaskData, run: ScoredRun, settings: BrightSettings) -> Stage:
    kept = top(run, data.excluded, max(MEASURED, *settings.depths))
    if not kept:
        raise InputError(f"{data.task}: all documents of the first stage are excluded; check the run")
    return Stage(data, kept, removed(run, data.excluded))
