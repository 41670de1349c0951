"""Rerank a first stage on BRIGHT, and measure it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import RunEntry, read_run, write_qrels, write_run
from limrank_ir.prompts.bright import task_query
from limrank_ir.ranking.evaluate import Evaluation, evaluate, parse_measures

from ..card import run_card, write_card
from ..energy import measured
from ..folder import claim, saved_record, write_json
from ..systems.by_name import read_systems
from ..systems.rerank import rerank
from ..systems.system import ScoredRun, Scorer, System, Work
from ..tags import run_tag
from .bm25 import lucene_analyzer
from .bounds import best_order, random_order
from .data import check_tasks, read_documents, read_tasks
from .measures import NAMES, PRIMARY, write_official
from .report import write_report
from .results import Bounds, BrightReport, BrightResult, Variant
from .settings import BM25, BrightSettings
from .stages import Stage, given_stage, official_stage
from .versions import VERSIONS

log = logging.getLogger("limrank_ir")

METHOD = "1"  # to be raised when the same files and settings would give different figures


def run_bright(model: str, output: Path, settings: BrightSettings) -> BrightReport:
    """Measure a reranker on BRIGHT. A second call resumes where the first one stopped.

    Args:
        model: as for `limrank_ir.benchmarks.systems.by_name.read_systems`; ``bm25``: only the first stage.
        output: folder for the results; created if it does not exist.
        settings: how to measure.

    Returns:
        The results, which are also written as results.json, results.md, card.json, TREC runs, and in the layout of
        BRIGHT's repository.

    Raises:
        InputError: the input is malformed or incomplete (checked before anything expensive runs), or the folder has
            results of other settings.
    """
    need("bench bright", "bench", "ir_measures", "scipy", "pyarrow")
    version = VERSIONS[settings.version]
    measures = parse_measures(" ".join(NAMES))
    check_tasks(version, settings.chosen, long=settings.long)
    systems = _systems(model, output, settings)
    analyze = lucene_analyzer() if settings.first_stage == BM25 else None
    if analyze is None and settings.expansion:
        raise InputError("--expanded-queries: only BM25 reads them; leave it out, or give --first-stage bm25")
    with console.progress("reading BRIGHT", None, "tasks"):
        tasks = read_tasks(version, settings.chosen, settings.data, long=settings.long, expansion=settings.expansion)
    for note in (note for data in tasks for note in data.notes):
        log.warning("%s", note)
    given = {} if analyze else {data.task: given_stage(data, settings) for data in tasks}
    work = claim(output, settings.protocol(model))
    results: list[BrightResult] = []
    stages: dict[str, Stage] = {}
    with measured() as usage:
        try:
            for data in tasks:
                stage = given[data.task] if analyze is None else official_stage(data, settings, work, analyze)
                stages[data.task] = stage
                results.append(_first_stage(stage, output, work, measures, settings))
            for system in systems:
                _rerank_all(system, list(stages.values()), output, work, measures, settings, results)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {len(results)} measurements and all verdicts so far are saved in {work}; "
                "run the same command again to resume"
            ) from None
    card = run_card(
        settings={**settings.protocol(model), "tasks": list(stages), "-k": list(settings.depths)},
        data={f"{data.task}: {data.source}": data.fingerprint for data in tasks},
        systems=systems,
        device=settings.models.get("device"),
        usage=usage,
    )
    report = BrightReport(
        results=results,
        bounds=[_bounds(stage, k) for stage in stages.values() for k in sorted(set(settings.depths))],
        tasks={task: _facts(stage) for task, stage in stages.items()},
        notes=[note for data in tasks for note in data.notes],
        settings={
            **settings.protocol(model),
            "-k": list(settings.depths),
            "first stage": settings.stage_name,
            "task prompts": settings.task_prompts,
        },
        systems=card["systems"],
        environment=card["environment"],
    )
    write_report(report, output)
    write_card(output, card)
    return report


def _systems(model: str, output: Path, settings: BrightSettings) -> list[System]:
    systems = read_systems([model], settings.models, output / "work" / "verdicts.sqlite")
    if settings.fuse_weight is None:
        return systems
    return [dataclasses.replace(system, weight=settings.fuse_weight) for system in systems]


def _bounds(stage: Stage, k: int) -> Bounds:
    docnos = {qid: [docno for docno, _ in scored] for qid, scored in stage.first(k).items()}
    qrels = stage.data.qrels
    return Bounds(stage.data.task, k, best_order(docnos, qrels), random_order(docnos, qrels))


def _facts(stage: Stage) -> dict[str, Any]:
    return {
        "source": stage.data.source,
        "fingerprint": stage.data.fingerprint,
        "queries": len(stage.data.queries),
        "removed": stage.removed,
    }


def _first_stage(
    stage: Stage, output: Path, work: Path, measures: Sequence[Any], settings: BrightSettings
) -> BrightResult:
    """Write the candidates and measure their own order."""
    task = stage.data.task
    write_qrels(work / task / "qrels.txt", stage.data.qrels)
    run = output / "runs" / task / "first-stage.run.gz"
    write_run(run, stage.run, tag="first-stage")
    (figures,) = evaluate(work / task / "qrels.txt", [run], measures)
    _official_files(output, stage, "first-stage", settings, stage.run, figures.mean)
    return BrightResult(task, settings.stage_name, "first stage", None, figures.mean, _primary(figures))


def _rerank_all(
    system: System,
    stages: Sequence[Stage],
    output: Path,
    work: Path,
    measures: Sequence[Any],
    settings: BrightSettings,
    results: list[BrightResult],
) -> None:
    """Measure a system on all tasks, and add the results. It is loaded when one of them needs it."""
    score: Scorer | None = None
    for stage in stages:
        task = stage.data.task
        texts: Mapping[str, Any] = {}
        for k in sorted(set(settings.depths)):
            name = f"{system.file_name}-k{k}"
            runs = [output / "runs" / task / f"{name}.run.gz"]
            if settings.fuse:
                runs.append(output / "runs" / task / f"{name}-fused.run.gz")
            record, key = work / task / f"{name}.json", _key(system, stage, k, settings)
            saved = saved_record(record, key, runs)
            if saved is None or len(saved["figures"]) < len(runs):
                if score is None:
                    score = system.start()
                if not texts:
                    wanted = {docno for scored in stage.first(max(settings.depths)).values() for docno, _ in scored}
                    texts = read_documents(stage.data, wanted)
                taken = _rerank(system, score, stage, k, texts, runs, settings)
                evaluations = evaluate(work / task / "qrels.txt", runs, measures)
                saved = {
                    "key": key,
                    "work": dataclasses.asdict(taken),
                    "figures": [{"mean": each.mean, "per_query": _primary(each)} for each in evaluations],
                }
                write_json(record, saved)
            variants: tuple[Variant, ...] = ("alone", "fused")
            for variant, run, figures in zip(variants, runs, saved["figures"], strict=False):
                results.append(BrightResult(task, system.label, variant, k, **figures, work=Work(**saved["work"])))
                ranking = {
                    qid: [(entry.docno, entry.score) for entry in entries] for qid, entries in read_run(run).items()
                }
                label = name if variant == "alone" else f"{name}-fused"
                _official_files(output, stage, label, settings, ranking, figures["mean"])


def _rerank(
    system: System,
    score: Scorer,
    stage: Stage,
    k: int,
    texts: Mapping[str, Any],
    runs: Sequence[Path],
    settings: BrightSettings,
) -> Work:
    """Write a system's runs on a task: alone, and fused if wanted."""
    data = stage.data
    documents = {
        qid: [RunEntry(qid, docno, rank, value, "first-stage") for rank, (docno, value) in enumerate(scored, 1)]
        for qid, scored in stage.first(k).items()
    }
    topics = {qid: Topic(qid, reader_query(query, data.task, settings)) for qid, query in data.queries.items()}
    found = rerank(system, score, documents, topics, texts, label=f"{data.task}, top {k}")
    for run, ranking, suffix in zip(runs, (found.alone, found.fused), ("", "f"), strict=False):
        write_run(run, ranking, tag=run_tag(system.label, f"{k}{suffix}"))
    return found.work


def reader_query(query: str, task: str, settings: BrightSettings) -> str:
    """What the reranker reads: the original query, in the task's prompt unless that is switched off."""
    return task_query(query, task if settings.task_prompts else None)


def _key(system: System, stage: Stage, k: int, settings: BrightSettings) -> dict[str, Any]:
    """What the figures depend on."""
    lines = (f"{qid} {docno} {score!r}\n" for qid, scored in stage.first(k).items() for docno, score in scored)
    return {
        "rules": METHOD,
        "data": stage.data.fingerprint,
        "candidates": hashlib.sha256("".join(lines).encode()).hexdigest()[:32],
        "task prompts": settings.task_prompts,
        "system": system.identity,
        "weight": system.weight,
    }


def _primary(figures: Evaluation) -> dict[str, float]:
    return {qid: values[PRIMARY] for qid, values in figures.per_query.items()}


def _official_files(
    output: Path, stage: Stage, label: str, settings: BrightSettings, run: ScoredRun, mean: Mapping[str, float]
) -> None:
    """Write the run with the data set's own ids, and the figures, as BRIGHT's repository does."""
    renamed = stage.data.renamed
    own = {qid: [(renamed.get(docno, docno), score) for docno, score in scored] for qid, scored in run.items()}
    write_official(output / "official", stage.data.task, label, settings.long, own, mean)
