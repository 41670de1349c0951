"""``limrank bench followir``: score every query under its instructions, and measure what the instructions change."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.trec import RunEntry, write_qrels, write_run
from limrank_ir.models import ModelOptions
from limrank_ir.ranking.evaluate import evaluate, parse_measures

from ..card import content_hashes, run_card, write_card
from ..energy import Usage, measured
from ..folder import claim, write_json
from ..mteb_results import check_models, write_mteb_results
from ..systems.by_name import read_systems
from ..systems.rerank import rerank
from ..systems.system import FIRST_STAGE, ScoredRun, System
from ..tags import run_tag
from .official import OFFICIAL, is_dataset, read_official
from .p_mrr import PMrr, p_mrr
from .report import write_report
from .results import FollowIrResult, averages, right_order
from .stand_ins import read_stand_in
from .task import MEASURES, InstructionTask

log = logging.getLogger("limrank_ir")

SAMPLES = 10_000  # of the bootstrap


@dataclass(frozen=True)
class FollowIrSettings:
    """How to measure.

    Attributes:
        k: candidates of each query.
        queries: how many base queries, groups, or twins to sample from each task; None: all.
        seed: seed of the sample and of the bootstrap.
        mteb: whether to write mteb's own result files, too.
        models: how to run the models.
    """

    k: int = 1000
    queries: int | None = None
    seed: int = 0
    mteb: bool = False
    models: ModelOptions = dataclasses.field(default_factory=ModelOptions)


def read_tasks(given: Sequence[str], settings: FollowIrSettings) -> list[InstructionTask]:
    """Read and check the tasks.

    Args:
        given: keys of `OFFICIAL`, data sets in folders, or collections.
        settings: how to measure.

    Returns:
        The tasks.

    Raises:
        InputError: one cannot be had, is malformed, or has the name of another.
    """
    for name in given:
        if not Path(name).is_dir() and name not in OFFICIAL:
            raise InputError(f"{name}: neither one of {', '.join(OFFICIAL)} nor a folder; check the name or the path")
    tasks: dict[str, InstructionTask] = {}
    for name in dict.fromkeys(given):
        official = not Path(name).is_dir() or is_dataset(Path(name))
        if official:
            need(f"bench followir {name}", "bench", "mteb", "datasets")
            task = read_official(name, k=settings.k, queries=settings.queries, seed=settings.seed)
        else:
            task = read_stand_in(Path(name), k=settings.k, queries=settings.queries, seed=settings.seed)
        if task.name in tasks:
            raise InputError(f"{name}: another task is also called {task.name}; give each once")
        tasks[task.name] = task
    return list(tasks.values())


def run_followir(
    given: Sequence[str], models: Sequence[str], output: Path, settings: FollowIrSettings
) -> tuple[list[InstructionTask], list[FollowIrResult]]:
    """Measure systems on tasks, and write results.json, results.md, card.json, and the runs.

    Args:
        given: as for `read_tasks`.
        models: names, as `limrank_ir.benchmarks.systems.by_name.read_systems` takes them.
        output: folder for the results.
        settings: how to measure.

    Returns:
        The tasks and, for each, the first stage (if it has one) and the systems.

    Raises:
        InputError: the input is malformed or incomplete (checked before anything runs), the output folder has results
            of other settings, or a model fails.
    """
    need("bench followir", "bench", "ir_measures", "scipy")
    measures = parse_measures(" ".join(MEASURES))
    work = output / "work"
    systems = read_systems(models, settings.models, work / "verdicts.sqlite")
    if not systems:
        raise InputError("--model bm25: reads no instructions; give a model")
    if settings.mteb:
        check_models([system.name for system in systems])
    with console.progress("reading the tasks", None, "tasks"):
        tasks = read_tasks(given, settings)
    _check_mteb(tasks, settings)
    protocol = {
        "-k": settings.k,
        "--queries": settings.queries,
        "--seed": settings.seed,
        "--max-length": settings.models.get("max_length"),
    }
    claim(output, protocol)
    for task in tasks:
        _note_depth(task)
    results = {task.name: _first_stage(task, output, measures, settings) for task in tasks}
    with measured() as usage:
        try:
            for system in systems:
                score = system.start()
                for task in tasks:
                    entries = {
                        qid: [RunEntry(qid, docno, rank, -float(rank), "given") for rank, docno in enumerate(docnos, 1)]
                        for qid, docnos in task.candidates.items()
                    }
                    found = rerank(system, score, entries, task.topics, task.passages, label=task.name)
                    result = _measure(task, system.label, system.file_name, found.alone, output, measures, settings)
                    results[task.name].append(dataclasses.replace(result, work=found.work))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; the verdicts so far are saved in {work}; run the same command again to resume"
            ) from None
    ordered = [result for task in tasks for result in results[task.name]]
    if settings.mteb:
        for system in systems:
            write_mteb_results(
                system.name,
                settings.models,
                work / "verdicts.sqlite",
                [task.mteb for task in tasks if task.mteb is not None],
                output / "mteb",
            )
    write_json(output / "results.json", as_json(tasks, ordered, settings))
    card = _card(tasks, systems, protocol, settings, usage)
    write_card(output, card)
    write_report(output, tasks, ordered, _depth(settings), card)
    return tasks, ordered


def _depth(settings: FollowIrSettings) -> str:
    sampled = "" if settings.queries is None else f"; samples of {settings.queries} (seed {settings.seed})"
    return f"The first {settings.k} candidates of each query{sampled}."


def _check_mteb(tasks: Sequence[InstructionTask], settings: FollowIrSettings) -> None:
    """A run of mteb scores all candidates of all queries, so that only such a run can share its verdicts."""
    if not settings.mteb:
        return
    if not any(task.mteb is not None for task in tasks):
        raise InputError("--mteb: none of the tasks is one of mteb's; leave it out")
    if settings.queries is not None:
        raise InputError("--mteb: mteb measures all queries; leave out --queries")
    for task in tasks:
        if task.mteb is not None and settings.k < task.given:
            raise InputError(
                f"--mteb: mteb scores all {task.given} candidates; give -k {task.given}, or leave out --mteb"
            )


def _note_depth(task: InstructionTask) -> None:
    """Say what a cut of the candidates does to p-MRR."""
    deepest = max(map(len, task.candidates.values()))
    documents, outside = outside_both(task)
    if deepest < task.given and documents:
        log.warning(
            "%s: the first %d of %d candidates: %d of %d changed documents (%.0f%%) are outside in both rankings and "
            "contribute 0 to p-MRR, so that it is not comparable with published values",
            task.name,
            deepest,
            task.given,
            outside,
            documents,
            100 * outside / documents,
        )


def outside_both(task: InstructionTask) -> tuple[int, int]:
    """The changed documents, and how many are not among the candidates under either instruction."""
    wanted = [(pair, docno) for pair in task.pairs for docno in pair.documents]
    found = {qid: set(docnos) for qid, docnos in task.candidates.items()}
    outside = sum(docno not in found[pair.original] | found[pair.changed] for pair, docno in wanted)
    return len(wanted), outside


def _first_stage(
    task: InstructionTask, output: Path, measures: Sequence[Any], settings: FollowIrSettings
) -> list[FollowIrResult]:
    """BM25, which reads the query and no instruction, for comparison."""
    if not task.first_stage:
        return []
    return [_measure(task, FIRST_STAGE, FIRST_STAGE, task.first_stage, output, measures, settings)]


def _measure(
    task: InstructionTask,
    label: str,
    file_name: str,
    ranking: ScoredRun,
    output: Path,
    measures: Sequence[Any],
    settings: FollowIrSettings,
) -> FollowIrResult:
    """Write a run and measure it."""
    write_run(output / "runs" / task.name / f"{file_name}.run.gz", ranking, tag=run_tag(label))
    scores = {qid: dict(documents) for qid, documents in ranking.items()}
    found = p_mrr(task.pairs, scores) if task.pairs else None
    changed = [pair.changed for pair in task.pairs]
    if set(changed) == set(task.originals):  # both directions, so that the two would be the same figures
        changed = []
    sides = {
        side: _quality(task, qids, ranking, output / "work" / task.name / f"{file_name}-{side}", measures)
        for side, qids in (("original", task.originals), ("changed", changed))
    }
    return FollowIrResult(
        task=task.name,
        system=label,
        p_mrr=found,
        interval=None if found is None else _interval(task, found, settings.seed),
        right=right_order(task.preferences, scores) if task.preferences else None,
        work=None,
        **sides,
    )


def _quality(
    task: InstructionTask, qids: Sequence[str], ranking: ScoredRun, file: Path, measures: Sequence[Any]
) -> dict[str, float]:
    """MAP and nDCG of some queries, by trec_eval's rules."""
    judged = {qid: task.qrels[qid] for qid in qids if task.qrels.get(qid)}
    if not judged:
        return {}
    qrels, run = file.with_suffix(".qrels"), file.with_suffix(".run")
    write_qrels(qrels, judged)
    write_run(run, {qid: ranking[qid] for qid in judged}, tag=file.name)
    return evaluate(qrels, [run], measures)[0].mean


def _interval(task: InstructionTask, found: PMrr, seed: int) -> tuple[float, float] | None:
    """The percentile bootstrap of the mean. The two directions of a pair are drawn together."""
    import numpy as np

    clusters: dict[frozenset[str], list[float]] = {}
    for pair in task.pairs:
        if pair.name in found.per_query:
            clusters.setdefault(frozenset((pair.original, pair.changed)), []).append(found.per_query[pair.name])
    if len(clusters) < 2:
        return None
    totals = np.array([math.fsum(values) for values in clusters.values()])
    sizes = np.array([len(values) for values in clusters.values()])
    drawn = np.random.default_rng(seed).integers(len(totals), size=(SAMPLES, len(totals)))
    means = totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def as_json(
    tasks: Sequence[InstructionTask], results: Sequence[FollowIrResult], settings: FollowIrSettings
) -> dict[str, Any]:
    """Everything, unrounded."""
    facts = {}
    for task in tasks:
        documents, outside = outside_both(task)
        facts[task.name] = {
            "kind": task.kind,
            "measure": task.measure,
            "queries": len(task.topics),
            "instruction_pairs": len(task.pairs),
            "preferences": len(task.preferences),
            "candidates_given": task.given,
            "candidates_scored": max(map(len, task.candidates.values())),
            "pairs_scored": task.count,
            "changed_documents": documents,
            "changed_documents_outside_both": outside,
            "revision": task.revision,
        }
    models = {name: value for name, value in settings.models.items() if isinstance(value, (str, int, float, dict))}
    return {
        "settings": {
            "k": settings.k,
            "queries": settings.queries,
            "seed": settings.seed,
            "mteb": settings.mteb,
            "models": models,
        },
        "tasks": facts,
        "results": [{**dataclasses.asdict(result), "work": result.work and result.work.totals} for result in results],
        "averages": averages(results),
    }


def _card(
    tasks: Sequence[InstructionTask],
    systems: Sequence[System],
    protocol: Mapping[str, Any],
    settings: FollowIrSettings,
    usage: Usage,
) -> dict[str, Any]:
    data: dict[str, str] = {}
    for task in tasks:
        data |= {task.name: task.revision} if task.revision else content_hashes(task.files)
    return run_card(settings=protocol, data=data, systems=systems, device=settings.models.get("device"), usage=usage)
