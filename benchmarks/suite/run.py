"""The suite: measure every system on every collection, save the figures, and report them."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.cli import console
from limrank_ir.extras import need
from limrank_ir.formats.corpus import read_passages
from limrank_ir.formats.trec import RunEntry, read_run, write_qrels, write_run
from limrank_ir.models import ModelOptions
from limrank_ir.ranking.calibration import Bins
from limrank_ir.ranking.candidates import Candidates
from limrank_ir.ranking.evaluate import Evaluation, evaluate, parse_measures

from ..card import run_card, write_card
from ..energy import measured
from ..environment import environment
from ..folder import claim, read_json, saved_record, write_json
from ..systems.by_name import read_systems
from ..systems.rerank import rerank
from ..systems.system import FIRST_STAGE, Scorer, System, Work
from ..tags import run_tag
from .calibrated import calibrated
from .collection import Collection, read_collections
from .cost import latency, query_tokens, sample, tied_scores
from .first_stage import BM25, first_stage
from .fusions import Fusion, fused, read_fusions
from .report import write_report
from .results import MEASURES, Statistics, SuiteReport, SystemResult, Variant, with_comparisons

log = logging.getLogger("limrank_ir")

NEEDED = ("ir_measures", "scipy", "statsmodels", "matplotlib")  # some only at the end, after hours: check them first
METHOD = "1"  # to be raised when the same files and settings would give different figures


@dataclass(frozen=True)
class SuiteSettings:
    """How to measure.

    Attributes:
        k: documents to rerank for each topic.
        queries: how many judged topics to sample from each collection; None: all of them.
        seed: seed of the sample.
        runs: whether to put the runs into the output folder.
        models: how to run the models.
        statistics: how to compare the systems.
        latency: how many sampled queries to judge one at a time, for seconds per query; None: none.
        calibration: whether to compare P(true) with the judgments, and in which bins; None: no.
        fuse: fusions to report (`limrank_ir.benchmarks.suite.fusions.read_fusions`).
    """

    k: int = 20
    queries: int | None = None
    seed: int = 0
    runs: bool = True
    models: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    statistics: Statistics = dataclasses.field(default_factory=Statistics)
    latency: int | None = None
    calibration: Bins | None = None
    fuse: Sequence[str] = ()

    @property
    def protocol(self) -> dict[str, Any]:
        """What must be the same for all results in a folder."""
        return {
            "-k": self.k,
            "--queries": self.queries,
            "--seed": self.seed,
            "--max-length": self.models.get("max_length"),
        }


@dataclass(frozen=True)
class SuitePaths:
    """Where files are.

    Attributes:
        output: the folder of the results.
        work: what a second call resumes from; ignored by git.
        runs: the runs.
    """

    output: Path
    work: Path
    runs: Path

    def run(self, collection: Collection, name: str) -> Path:
        """A system's run on a collection."""
        return self.runs / collection.name / f"{name}.run.gz"

    def figures(self, collection: Collection, name: str) -> Path:
        """A system's figures on a collection, together with what they depend on."""
        return self.work / collection.name / f"{name}.json"


def run_suite(
    folders: Sequence[Path], systems: Sequence[str], output: Path, settings: SuiteSettings, *, command: str
) -> SuiteReport:
    """Measure systems on collections and write the results. A second call resumes where the first one stopped.

    Args:
        folders: collections, or folders that contain collections (see README.md in this folder).
        systems: names, as `limrank_ir.benchmarks.systems.by_name.read_systems` takes them.
        output: folder for the results; created if it does not exist.
        settings: how to measure.
        command: the command line, for the report.

    Returns:
        The results.

    Raises:
        InputError: the input is malformed or incomplete (checked before anything runs), the output folder has results
            from other settings, or a model fails.
    """
    need("bench suite", "bench", *NEEDED)
    measures = parse_measures(" ".join(MEASURES))
    paths = SuitePaths(output, output / "work", (output if settings.runs else output / "work") / "runs")
    rerankers = read_systems(systems, settings.models, paths.work / "verdicts.sqlite")
    fusions = read_fusions(settings.fuse, [FIRST_STAGE, *(system.label for system in rerankers)])
    with console.progress("checking the collections", None, "collections"):
        collections = read_collections(folders, queries=settings.queries, seed=settings.seed)
    if any(collection.source != "run" for collection in collections):
        need("bench suite", "bench", "pyterrier_pisa")
    claim(output, settings.protocol)
    count = len(collections) * (1 + len(rerankers) + len(fusions))
    done: dict[tuple[str, str], list[SystemResult]] = {}
    stages: dict[str, dict[str, list[RunEntry]]] = {}
    facts = {system.label: _system_facts(system) for system in rerankers}
    try:
        with measured() as usage:
            for collection in collections:
                stages[collection.name] = _first_stage(collection, paths, settings.k, measures, done)
            for system in rerankers:
                _rerank_all(system, collections, stages, paths, measures, done)
                if settings.latency is not None:
                    facts[system.label]["latency"] = _latency(system, collections, stages, paths, settings)
                if settings.calibration is not None and system.log_odds:
                    facts[system.label]["calibration"] = _calibration(system, collections, paths, settings.calibration)
            files = {FIRST_STAGE: FIRST_STAGE, **{system.label: system.file_name for system in rerankers}}
            for fusion in fusions:
                for collection in collections:
                    done[collection.name, fusion.label] = _fusion(fusion, collection, files, paths, measures)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {len(done)} of {count} measurements are saved in {paths.work}; "
            "run the same command again to resume"
        ) from None
    results: list[SystemResult] = []
    for collection in collections:
        labels = [*(system.label for system in rerankers), *(fusion.label for fusion in fusions)]
        for label in (FIRST_STAGE, *labels):
            results += done[collection.name, label]
    report = SuiteReport(
        results=with_comparisons(results, settings.statistics),
        collections={
            collection.name: _collection_facts(collection, paths, stages[collection.name], measures)
            for collection in collections
        },
        systems=facts,
        fusions={fusion.label: dict(fusion.weights) for fusion in fusions},
        settings={**dataclasses.asdict(settings), "bm25": dataclasses.asdict(BM25), "measures": list(MEASURES)},
        environment=environment(command, settings.models.get("device")),
        statistics=settings.statistics,
    )
    write_report(report, output)
    data = {collection.name: collection.fingerprint for collection in collections}
    device = settings.models.get("device")
    options = {**settings.protocol, "--fuse": {fusion.label: dict(fusion.weights) for fusion in fusions}}
    write_card(output, run_card(settings=options, data=data, systems=rerankers, device=device, usage=usage))
    return report


def _first_stage(
    collection: Collection,
    paths: SuitePaths,
    k: int,
    measures: Sequence[Any],
    done: dict[tuple[str, str], list[SystemResult]],
) -> dict[str, list[RunEntry]]:
    """The candidates, from an earlier call if possible. Their figures go into `done`."""
    qrels = paths.work / collection.name / "qrels.txt"
    key = {"rules": METHOD, "collection": collection.fingerprint, "k": k, "topics": list(collection.topics)}
    run = paths.run(collection, FIRST_STAGE)
    record = saved_record(paths.figures(collection, FIRST_STAGE), key, [run])
    if record is None:
        write_qrels(qrels, collection.qrels)
        write_run(run, first_stage(collection, k), tag=FIRST_STAGE)
        record = _save(paths.figures(collection, FIRST_STAGE), key, evaluate(qrels, [run], measures), None, [run], None)
    done[collection.name, FIRST_STAGE] = _results(record, collection, FIRST_STAGE, ("first stage",))
    return read_run(run)


def _rerank_all(
    system: System,
    collections: Sequence[Collection],
    stages: dict[str, dict[str, list[RunEntry]]],
    paths: SuitePaths,
    measures: Sequence[Any],
    done: dict[tuple[str, str], list[SystemResult]],
) -> None:
    """Measure a system on all collections. It is loaded when one of them needs it."""
    score: Scorer | None = None
    for collection in collections:
        key = {
            **read_json(paths.figures(collection, FIRST_STAGE))["key"],
            "system": system.identity,
            "weight": system.weight,
        }
        file = paths.figures(collection, system.file_name)
        runs = [paths.run(collection, name) for name in (system.file_name, f"{system.file_name}-fused")]
        record = saved_record(file, key, runs)
        if record is None:
            if score is None:
                score = system.start()
            work = _rerank(system, score, collection, stages[collection.name], runs)
            tokens = query_tokens(work.pair_tokens, map(len, stages[collection.name].values()))
            figures = evaluate(paths.work / collection.name / "qrels.txt", runs, measures)
            record = _save(file, key, figures, work, runs, tokens)
        done[collection.name, system.label] = _results(record, collection, system.label, ("alone", "fused"))


def _rerank(
    system: System, score: Scorer, collection: Collection, documents: dict[str, list[RunEntry]], runs: Sequence[Path]
) -> Work:
    """Write a system's two runs on a collection: alone and fused."""
    wanted = dict.fromkeys(entry.docno for entries in documents.values() for entry in entries)
    passages = read_passages(collection.folder, wanted)
    found = rerank(system, score, documents, collection.topics, passages, label=collection.name)
    alone_run, fused_run = runs
    write_run(alone_run, found.alone, tag=run_tag(system.label))
    write_run(fused_run, found.fused, tag=run_tag(system.label, "fused"))
    return found.work


def _fusion(
    fusion: Fusion, collection: Collection, files: Mapping[str, str], paths: SuitePaths, measures: Sequence[Any]
) -> list[SystemResult]:
    """Fuse the runs of several systems on a collection, or take the figures of an earlier call."""
    keys = [read_json(paths.figures(collection, files[label]))["key"] for label in fusion.weights]
    key = {"rules": METHOD, "weights": dict(fusion.weights), "fused": keys}
    file, run = paths.figures(collection, fusion.file_name), paths.run(collection, fusion.file_name)
    record = saved_record(file, key, [run])
    if record is None:
        runs = {label: paths.run(collection, files[label]) for label in fusion.weights}
        write_run(run, fused(fusion, runs), tag=run_tag(fusion.label))
        figures = evaluate(paths.work / collection.name / "qrels.txt", [run], measures)
        record = _save(file, key, figures, None, [run], None)
    return _results(record, collection, fusion.label, ("fusion",))


def _save(
    file: Path,
    key: dict[str, Any],
    evaluations: Sequence[Evaluation],
    work: Work | None,
    runs: Sequence[Path],
    tokens: list[int] | None,
) -> dict[str, Any]:
    record = {
        "key": key,
        "work": None if work is None else work.totals,
        "query_tokens": tokens,
        "figures": [
            {"mean": found.mean, "per_query": found.per_query, "missing": found.missing, "tied": _tied(run)}
            for found, run in zip(evaluations, runs, strict=True)
        ],
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    write_json(file, record)
    return record


def _tied(run: Path) -> int:
    return tied_scores([entry.score for entry in entries] for entries in read_run(run).values())


def _results(
    record: dict[str, Any], collection: Collection, label: str, variants: Sequence[Variant]
) -> list[SystemResult]:
    work = None if record["work"] is None else Work(**record["work"])
    tokens = record.get("query_tokens")
    return [
        SystemResult(collection.name, label, variant, **figures, work=work, query_tokens=tokens)
        for variant, figures in zip(variants, record["figures"], strict=True)
    ]


def _latency(
    system: System,
    collections: Sequence[Collection],
    stages: Mapping[str, dict[str, list[RunEntry]]],
    paths: SuitePaths,
    settings: SuiteSettings,
) -> dict[str, Any] | None:
    """Seconds per query of a sample over all collections, from an earlier call if possible."""
    queries = sample(
        [(name, qid) for name, found in stages.items() for qid in found], settings.latency or 0, settings.seed
    )
    if not queries:
        return None
    file = paths.work / f"{system.file_name}.latency.json"
    fingerprints = {each.name: each.fingerprint for each in collections if each.name in {name for name, _ in queries}}
    key = {"rules": METHOD, "system": system.identity, "queries": [*map(list, queries)], "collections": fingerprints}
    if (record := saved_record(file, key, [])) is None:
        pairs = {}
        for collection in collections:
            wanted = {qid: stages[collection.name][qid] for name, qid in queries if name == collection.name}
            docnos = dict.fromkeys(entry.docno for entries in wanted.values() for entry in entries)
            passages = read_passages(collection.folder, docnos)
            for qid, entries in wanted.items():
                pairs[collection.name, qid] = Candidates({qid: entries}, collection.topics, passages).pairs()
        score = (system.fresh or system.start)()
        record = {"key": key, "latency": latency(system.label, score, [pairs[query] for query in queries])}
        write_json(file, record)
    found: dict[str, Any] = record["latency"]
    return found


def _calibration(
    system: System, collections: Sequence[Collection], paths: SuitePaths, bins: Bins
) -> dict[str, Any] | None:
    found = calibrated(
        ((read_run(paths.run(collection, system.file_name)), collection.qrels) for collection in collections), bins
    )
    if found is None:
        log.warning("%s: no calibration, because no collection has candidates of both kinds judged", system.label)
    return found


def _collection_facts(
    collection: Collection, paths: SuitePaths, documents: dict[str, list[RunEntry]], measures: Sequence[Any]
) -> dict[str, Any]:
    return {
        "folder": str(collection.folder),
        "documents": collection.documents,
        "judged_queries": collection.judged,
        "queries": len(collection.topics),
        "first_stage": collection.run.name if collection.run is not None else "BM25 over the corpus",
        "source": collection.source,
        "pairs": sum(map(len, documents.values())),
        "fingerprint": collection.fingerprint,
        "qids": list(collection.topics),
        "ceiling": _ceiling(collection, paths, documents, measures),
    }


def _ceiling(
    collection: Collection, paths: SuitePaths, documents: dict[str, list[RunEntry]], measures: Sequence[Any]
) -> dict[str, float]:
    """The figures of the candidates in the best possible order."""
    run = paths.work / collection.name / "ceiling.run"
    best = {
        qid: [(entry.docno, float(collection.qrels[qid].get(entry.docno, 0))) for entry in entries]
        for qid, entries in documents.items()
    }
    write_run(run, best, tag="ceiling")
    return evaluate(paths.work / collection.name / "qrels.txt", [run], measures)[0].mean


def _system_facts(system: System) -> dict[str, Any]:
    return {
        "name": system.name,
        "identity": system.identity,
        "fusion_weight": system.weight,
        "adapter_hash": system.adapter,
    }
