"""The suite: every system on every collection, measured, kept, and reported."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import read_passages
from limrank_ir.formats.files import replacing
from limrank_ir.formats.trec import RunEntry, read_run, write_run
from limrank_ir.model_options import ModelOptions
from limrank_ir.ranking.candidates import Candidates
from limrank_ir.ranking.evaluate import Evaluation, evaluate, parse_measures
from limrank_ir.ranking.fusion import fuse

from .collection import Collection, read_collections
from .environment import environment
from .first_stage import BM25, first_stage
from .report import write_report
from .results import MEASURES, Report, Result, Variant, corrected
from .system import FIRST_STAGE, Scorer, System, Work
from .systems import read_systems

log = logging.getLogger("limrank_ir")

NEEDED = ("ir_measures", "scipy", "statsmodels", "matplotlib")  # the last ones only at the end, after hours
SETTINGS = "settings.json"
RULES = "1"  # changes when the same files and settings would give other figures


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        k: documents of each topic that are reranked.
        queries: topics of each collection, a sample of the judged ones; None: all of them.
        seed: of the sample.
        runs: whether to leave the runs in the output folder.
        models: how models are run.
    """

    k: int = 20
    queries: int | None = None
    seed: int = 0
    runs: bool = True
    models: ModelOptions = dataclasses.field(default_factory=ModelOptions)

    @property
    def protocol(self) -> dict[str, Any]:
        """What must not differ between results in one folder."""
        return {
            "-k": self.k,
            "--queries": self.queries,
            "--seed": self.seed,
            "--max-length": self.models.get("max_length"),
        }


@dataclass(frozen=True)
class Places:
    """Where things are.

    Attributes:
        output: the folder of the results.
        work: what a second call goes on from; git does not see it.
        runs: the runs.
    """

    output: Path
    work: Path
    runs: Path

    def run(self, collection: Collection, name: str) -> Path:
        """A run."""
        return self.runs / collection.name / f"{name}.run.gz"

    def kept(self, collection: Collection, name: str) -> Path:
        """A system's figures on a collection, with what they depend on."""
        return self.work / collection.name / f"{name}.json"


def run_suite(
    folders: Sequence[Path], systems: Sequence[str], output: Path, settings: Settings, *, command: str
) -> Report:
    """Measure systems on collections and write the results; what an earlier call has done is not done again.

    Args:
        folders: collections, or folders of collections (README.md in this folder).
        systems: `limrank_ir.benchmarks.suite.systems.read_systems`.
        output: folder for the results; made when it is not there.
        settings: how to measure.
        command: what the user wrote, for the report.

    Returns:
        The results.

    Raises:
        InputError: something is wrong or missing (all is checked before anything runs), the output folder has
            results of other settings, or a model fails.
    """
    need("bench suite", "bench", *NEEDED)
    measures = parse_measures(" ".join(MEASURES))
    places = Places(output, output / "work", (output if settings.runs else output / "work") / "runs")
    _check_protocol(places, settings)
    rerankers = read_systems(systems, settings.models, places.work / "verdicts.sqlite")
    with console.progress("checking the collections", None, "collections"):
        collections = read_collections(folders, queries=settings.queries, seed=settings.seed)
    if any(collection.source != "run" for collection in collections):
        need("bench suite", "bench", "pyterrier_pisa")
    _write_json(places.work / SETTINGS, settings.protocol)
    with replacing(output / ".gitignore") as file:
        file.write("/work/\n")
    count = len(collections) * (1 + len(rerankers))
    done: dict[tuple[str, str], list[Result]] = {}
    try:
        stages = {}
        for collection in collections:
            stages[collection.name] = _first_stage(collection, places, settings.k, measures, done)
        for system in rerankers:
            _rerank_all(system, collections, stages, places, measures, done)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {len(done)} of {count} measurements are done and kept in {places.work}; "
            "give the same command again to go on"
        ) from None
    order = [FIRST_STAGE, *(system.label for system in rerankers)]
    results = [result for collection in collections for name in order for result in done[collection.name, name]]
    report = Report(
        results=corrected(results),
        collections={
            c.name: _collection_facts(c, stages[c.name]) | {"ceiling": _ceiling(c, places, stages[c.name], measures)}
            for c in collections
        },
        systems={system.label: _system_facts(system) for system in rerankers},
        settings={**dataclasses.asdict(settings), "bm25": dataclasses.asdict(BM25), "measures": list(MEASURES)},
        environment=environment(command, settings.models.get("device")),
    )
    write_report(report, output)
    return report


def _check_protocol(places: Places, settings: Settings) -> None:
    """Make sure that what is in the output folder was measured in the same way."""
    kept = places.work / SETTINGS
    if not kept.exists():
        return
    before = _read_json(kept)
    for name, value in settings.protocol.items():
        if before.get(name) != value:
            raise InputError(
                f"{places.output}: its results were made with {name} {_said(before.get(name))}, not {_said(value)}; "
                "give another --output, or remove this folder"
            )


def _said(value: object) -> str:
    return "left out" if value is None else str(value)


def _first_stage(
    collection: Collection,
    places: Places,
    k: int,
    measures: Sequence[Any],
    done: dict[tuple[str, str], list[Result]],
) -> dict[str, list[RunEntry]]:
    """The candidates, from an earlier call where there are any; their figures go into `done`."""
    qrels = places.work / collection.name / "qrels.txt"
    key = {"rules": RULES, "collection": collection.fingerprint, "k": k, "topics": list(collection.topics)}
    run = places.run(collection, FIRST_STAGE)
    found = _known(places.kept(collection, FIRST_STAGE), key, [run])
    if found is None:
        with replacing(qrels) as file:
            for qid, row in collection.qrels.items():
                file.writelines(f"{qid} 0 {docno} {grade}\n" for docno, grade in row.items())
        write_run(run, first_stage(collection, k), tag=FIRST_STAGE)
        found = _keep(places.kept(collection, FIRST_STAGE), key, evaluate(qrels, [run], measures), None)
    done[collection.name, FIRST_STAGE] = _results(found, collection, FIRST_STAGE, ("first stage",))
    return read_run(run)


def _rerank_all(
    system: System,
    collections: Sequence[Collection],
    stages: dict[str, dict[str, list[RunEntry]]],
    places: Places,
    measures: Sequence[Any],
    done: dict[tuple[str, str], list[Result]],
) -> None:
    """A system on all collections; it is loaded when the first of them needs it, and let go at the end."""
    score: Scorer | None = None
    for collection in collections:
        key = {
            **_read_json(places.kept(collection, FIRST_STAGE))["key"],
            "system": system.identity,
            "weight": system.weight,
        }
        kept = places.kept(collection, system.file_name)
        runs = [places.run(collection, name) for name in (system.file_name, f"{system.file_name}-fused")]
        found = _known(kept, key, runs)
        if found is None:
            score = score or system.start()
            documents = stages[collection.name]
            work = _rerank(system, score, collection, documents, runs)
            found = _keep(kept, key, evaluate(places.work / collection.name / "qrels.txt", runs, measures), work)
        done[collection.name, system.label] = _results(found, collection, system.label, ("alone", "fused"))


def _rerank(
    system: System, score: Scorer, collection: Collection, documents: dict[str, list[RunEntry]], runs: Sequence[Path]
) -> Work:
    """Write a system's two runs of a collection."""
    wanted = dict.fromkeys(entry.docno for entries in documents.values() for entry in entries)
    pairs = Candidates(documents, collection.topics, read_passages(collection.folder, wanted)).pairs()
    with console.progress(f"{system.label} on {collection.name}", len(pairs), "pairs") as advance:
        scores, work = score(pairs, advance)
    stream = iter(scores)
    alone, fused = {}, {}
    for qid, entries in documents.items():
        docnos, own = [entry.docno for entry in entries], [next(stream) for _ in entries]
        together = fuse(own, [entry.score for entry in entries], system.weight)
        alone[qid] = list(zip(docnos, own, strict=True))
        fused[qid] = list(zip(docnos, together.tolist(), strict=True))
    for run, ranking, tag in zip(runs, (alone, fused), ("", "-fused"), strict=True):
        write_run(run, ranking, tag=f"{system.file_name}{tag}")
    return work


def _known(file: Path, key: dict[str, Any], runs: Sequence[Path]) -> dict[str, Any] | None:
    """What an earlier call measured, if it measured the same."""
    if not file.exists():
        return None
    found = _read_json(file)
    if changed := [name for name in key if found["key"].get(name) != key[name]]:
        log.warning("%s: measured again, because this has changed: %s", file, ", ".join(changed))
        return None
    return found if all(run.exists() for run in runs) else None


def _keep(file: Path, key: dict[str, Any], evaluations: Sequence[Evaluation], work: Work | None) -> dict[str, Any]:
    record = {
        "key": key,
        "work": None if work is None else dataclasses.asdict(work),
        "figures": [{"mean": e.mean, "per_query": e.per_query, "missing": e.missing} for e in evaluations],
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    _write_json(file, record)
    return record


def _results(record: dict[str, Any], collection: Collection, label: str, variants: Sequence[Variant]) -> list[Result]:
    work = None if record["work"] is None else Work(**record["work"])
    return [
        Result(collection.name, label, variant, **figures, work=work)
        for variant, figures in zip(variants, record["figures"], strict=True)
    ]


def _collection_facts(collection: Collection, documents: dict[str, list[RunEntry]]) -> dict[str, Any]:
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
    }


def _ceiling(
    collection: Collection, places: Places, documents: dict[str, list[RunEntry]], measures: Sequence[Any]
) -> dict[str, float]:
    """The figures of the best possible order of the candidates."""
    run = places.work / collection.name / "ceiling.run"
    best = {
        qid: [(entry.docno, float(collection.qrels[qid].get(entry.docno, 0))) for entry in entries]
        for qid, entries in documents.items()
    }
    write_run(run, best, tag="ceiling")
    return evaluate(places.work / collection.name / "qrels.txt", [run], measures)[0].mean


def _system_facts(system: System) -> dict[str, Any]:
    return {
        "name": system.name,
        "identity": system.identity,
        "fusion_weight": system.weight,
        "adapter_hash": system.adapter,
    }


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); remove it, and it is made again") from error


def _write_json(file: Path, value: Any) -> None:
    with replacing(file) as stream:
        json.dump(value, stream, ensure_ascii=False, indent=1)
