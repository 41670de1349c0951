"""The ablation: train every point with every seed, measure it, and report all of them in one table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from limrank_ir.cli import console
from limrank_ir.errors import EngineError
from limrank_ir.extras import need
from limrank_ir.formats.words import duration
from limrank_ir.models import ModelOptions

from .. import energy
from ..card import run_card, write_card
from ..environment import command_line
from ..folder import claim, read_json
from ..suite.collection import Collection, read_collections
from ..suite.run import NEEDED, SuiteSettings, run_suite
from ..systems.by_name import read_systems
from .config import AblateConfig, inference
from .report import write_report
from .results import MEASURE, VARIANTS, Measured, ablation
from .training import ADAPTER, Training, base_settings, planned_steps, run_training, training

log = logging.getLogger("limrank_ir")


@dataclass(frozen=True)
class Job:
    """One row of figures to be made: a point with one seed.

    Attributes:
        point: the point's name.
        seed: the training's seed; None for a point without training.
        model: the model that is measured, or trained and measured.
        k: documents to rerank for each topic.
        options: how the model is run.
        plan: the training, or None.
        steps: its number of steps; 0 without a training.
    """

    point: str
    seed: int | None
    model: str
    k: int
    options: ModelOptions
    plan: Training | None = None
    steps: int = 0

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.point if self.seed is None else f"{self.point}, seed {self.seed}"


Check: TypeAlias = Callable[[Training, Path], int]
"""Returns a training's steps, without training (`planned_steps`)."""

Train: TypeAlias = Callable[[Training, int, Path, Callable[[int], None]], None]
"""Trains into a folder (`run_training`)."""

Measure: TypeAlias = Callable[[AblateConfig, Job, str, Path, Mapping[str, Any]], Measured]
"""Measures a job's model, given its name, the folder for what a second call resumes from, and facts about the training
(`measure_job`)."""


@dataclass
class _Pace:
    """What the jobs of this call took so far, to tell how long the rest will take."""

    steps: int = 0
    training: float = 0.0
    measured: int = 0
    measuring: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)  # a training's key to its message; it is not tried again

    def left(self, jobs: Sequence[Job], work: Path) -> str:
        """The time that the remaining jobs will take, or nothing if that is not known yet."""
        waiting = {job.plan.key: job.steps for job in jobs if job.plan and not _adapter(job.plan, work).exists()}
        if not self.measured or (waiting and not self.steps):
            return ""
        training = sum(waiting.values()) * self.training / max(1, self.steps)
        return f"; about {duration(training + len(jobs) * self.measuring / self.measured)} left"


def plan_jobs(config: AblateConfig) -> list[Job]:
    """All points with all seeds, seed by seed, so that an interrupted ablation has whole sets of points.

    Args:
        config: the ablation.

    Returns:
        The jobs, without their steps.

    Raises:
        InputError: the training configuration or a point is wrong, or a file of rows is missing.
    """
    base = base_settings(config)
    jobs = []
    for seed in config.seeds:
        for name, point in config.points.items():
            prompt_format = {**base, **config.set, **point.set}.get("prompt_format")
            k, options = inference(config, point, prompt_format)
            if point.model is not None:
                if seed == config.seeds[0]:  # the training's seed changes nothing
                    jobs.append(Job(name, None, point.model, k, options))
                continue
            model = {**base, **config.set, **point.set}["model"]
            jobs.append(Job(name, seed, model, k, options, training(config, base, name, seed)))
    return jobs


def with_steps(jobs: Sequence[Job], check: Check = planned_steps) -> list[Job]:
    """Check the training of every point with one seed, and add the steps to the jobs.

    Args:
        jobs: what `plan_jobs` returned.
        check: returns a training's steps, without training.

    Returns:
        The same jobs with their steps.

    Raises:
        InputError: ``limrank train`` would refuse one of them.
    """
    steps: dict[tuple[str, ...], int] = {}
    trained = [job.plan for job in jobs if job.plan]
    different = {plan.changes: plan for plan in reversed(trained)}  # the first seed's
    with tempfile.TemporaryDirectory() as folder, console.progress("checking", len(different), "trainings") as advance:
        for number, plan in enumerate(different.values()):
            steps[plan.changes] = check(plan, Path(folder) / str(number))
            advance(1)
    return [dataclasses.replace(job, steps=steps[job.plan.changes]) if job.plan else job for job in jobs]


def check_all(config: AblateConfig, check: Check = planned_steps) -> tuple[list[Job], list[Collection]]:
    """Check everything that can be checked before anything runs.

    Args:
        config: the ablation.
        check: returns a training's steps, without training.

    Returns:
        All jobs with their steps, and the collections.

    Raises:
        InputError: something is not installed, or wrong with the configuration, the rows, the models, the collections,
            or a training's settings.
    """
    need("bench ablate", "bench", *NEEDED)
    need("bench ablate", "train", "yaml", "accelerate", "peft")
    jobs = plan_jobs(config)
    for job in jobs:
        read_systems([job.model], job.options, Path("verdicts.sqlite"))  # not written: nothing is loaded
    with console.progress("checking the collections", None, "collections"):
        collections = read_collections(config.bench.collections, queries=config.bench.queries, seed=config.bench.seed)
    return with_steps(jobs, check), collections


def run_ablation(
    config: AblateConfig,
    output: Path,
    *,
    check: Check = planned_steps,
    train: Train = run_training,
    measure: Measure | None = None,
) -> list[str]:
    """Train and measure all points, and write the results. A second call resumes where the first one stopped.

    A training that fails does not stop the other points: its seed is missing from the results, which say so.

    Args:
        config: the ablation.
        output: folder for the results; created if it does not exist.
        check: returns a training's steps, without training.
        train: trains.
        measure: measures a model; None: `measure_job`.

    Returns:
        The failures, one line each.

    Raises:
        InputError: something is wrong with the configuration, the collections, or a training's settings (checked before
            anything runs), or the output folder has results of other collections or queries.
        EngineError: no point could be measured.
    """
    bench = config.bench
    work = output / "work"
    jobs, collections = check_all(config, check)
    names = [collection.name for collection in collections]
    claim(output, {"bench.collections": names, "bench.queries": bench.queries, "bench.seed": bench.seed})
    found: list[Measured] = []
    failures: dict[str, str] = {}
    pace = _Pace()
    with energy.measured() as usage:
        try:
            for number, job in enumerate(jobs):
                try:
                    facts = _trained(job, work, train, pace)
                    found.append(_measured(config, job, work, facts, measure or measure_job, pace))
                except EngineError as error:
                    failures[job.label] = str(error)
                    log.warning("%s: %s; the other points go on", job.label, error)
                    continue
                log.info(
                    "%s: %s; %d of %d done%s",
                    job.label,
                    ", ".join(f"{MEASURE} {variant} {found[-1].mean(variant):.3f}" for variant in VARIANTS),
                    number + 1,
                    len(jobs),
                    pace.left(jobs[number + 1 :], work),
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {len(found)} of {len(jobs)} trained and measured points are saved in {work}; "
                "run the same command again to resume"
            ) from None
    lines = [f"{label}: {message}" for label, message in failures.items()]
    if not found:
        raise EngineError(f"bench ablate: no point could be measured; {lines[0]}")
    data = {collection.name: collection.fingerprint for collection in collections}
    card = run_card(settings=_settings(config), data=data, device=bench.device, usage=usage)
    card["trainings"] = {job.label: {"key": job.plan.key, "steps": job.steps} for job in jobs if job.plan}
    write_report(ablation(config, found, lines, card["environment"], names), output)
    write_card(output, card)
    return lines


def measure_job(config: AblateConfig, job: Job, system: str, folder: Path, facts: Mapping[str, Any]) -> Measured:
    """Measure a model with the suite.

    Args:
        config: the ablation.
        job: the point with its seed.
        system: the model, with its adapter if it was trained.
        folder: for what a second call resumes from.
        facts: about the training.

    Returns:
        Its figures.

    Raises:
        InputError: as `run_suite`.
    """
    bench = config.bench
    settings = SuiteSettings(k=job.k, queries=bench.queries, seed=bench.seed, runs=False, models=job.options)
    report = run_suite(bench.collections, [system], folder, settings, command=command_line())
    return Measured.from_suite(job.point, job.seed, job.k, report, facts)


def _trained(job: Job, work: Path, train: Train, pace: _Pace) -> dict[str, Any]:
    """Train a job's model, unless that was done before. Facts about the training."""
    plan = job.plan
    if plan is None:
        return {}
    if not _adapter(plan, work).exists():
        if plan.key in pace.failed:
            raise EngineError(pace.failed[plan.key])
        started = time.monotonic()
        try:
            _train(job, plan, work, train)
        except EngineError as error:
            pace.failed[plan.key] = str(error)
            raise
        pace.steps += job.steps
        pace.training += time.monotonic() - started
    record: Mapping[str, Any] = read_json(work / "training" / plan.key / "run.json")
    return {name: record[name] for name in ("steps", "examples", "seconds", "data_sha256") if name in record}


def _measured(
    config: AblateConfig, job: Job, work: Path, facts: Mapping[str, Any], measure: Measure, pace: _Pace
) -> Measured:
    """Measure a job's model."""
    system = job.model if job.plan is None else f"{job.model}+{_adapter(job.plan, work)}"
    started = time.monotonic()
    found = measure(config, job, system, work / "suite" / _digest({"k": job.k, **job.options}), facts)
    pace.measured += 1
    pace.measuring += time.monotonic() - started
    return found


def _train(job: Job, plan: Training, work: Path, train: Train) -> None:
    """Train, and keep the adapter, the records and the log, but not the checkpoints."""
    folder = work / "training" / plan.key
    with console.progress(f"training {job.label}", job.steps, "steps") as advance:
        train(plan, job.steps, folder, advance)
    adapter = _adapter(plan, work)
    adapter.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder / ADAPTER, adapter)  # the adapter is there: the training is finished
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _adapter(plan: Training, work: Path) -> Path:
    """Where a finished training's adapter is. The folder's name is its label in the suite."""
    return work / "adapters" / plan.key


def _digest(settings: Mapping[str, Any]) -> str:
    """The name of a folder for these settings."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return f"k{settings['k']}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _settings(config: AblateConfig) -> dict[str, Any]:
    """The ablation's settings, without the absolute paths of this machine."""
    settings = config.model_dump(mode="json", exclude_none=True, exclude={"data": True, "bench": {"folder"}})
    settings["bench"]["collections"] = [Path(folder).name for folder in settings["bench"]["collections"]]
    settings["train"] = Path(settings["train"]).name
    return settings
