"""GPQA from questions and a pool to accuracies: BM25, rerankers, reader. A second call resumes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.files import replacing
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import RunEntry, read_run, write_run
from limrank_ir.llm.chat import check_key
from limrank_ir.llm.journal import Journal
from limrank_ir.models import ModelOptions

from ..card import run_card, write_card
from ..energy import measured
from ..fingerprint import fingerprint
from ..folder import claim, read_json, write_json
from ..systems.by_name import read_systems
from ..systems.rerank import rerank
from ..systems.system import FIRST_STAGE, System
from ..tags import run_tag
from .asking import Model, Reader, Request
from .pool import pool_files, read_pool, search
from .questions import Question, Questions, read_questions
from .report import page, records
from .results import Comparison, Condition, Figures, comparisons, figures
from .secret import withheld

CLOSED_BOOK = "closed book"
DEPTH = 100  # of the released scripts
NEEDED = ("openai", "bm25s", "scipy", "statsmodels")


@dataclass(frozen=True)
class GpqaSettings:
    """How to measure.

    Attributes:
        k: passages that the reader gets.
        depth: passages that BM25 finds and the rerankers order.
        choices: whether BM25 and the rerankers read the choices, too.
        samples: answers to each question.
        seed: seed of the choices' order and of the samples.
        models: how to run the rerankers.
    """

    k: int = 10
    depth: int = DEPTH
    choices: bool = True
    samples: int = 1
    seed: int = 0
    models: ModelOptions = field(default_factory=ModelOptions)


def measure_gpqa(
    questions_file: Path,
    pool: Path,
    output: Path,
    reader: Model,
    judge: Model | None,
    systems: Sequence[str],
    settings: GpqaSettings,
) -> tuple[list[Figures], list[Comparison]]:
    """Measure what passages are worth to a reader, and write results.json, results.md, card.json, and runs.

    Args:
        questions_file: the questions (`read_questions`).
        pool: the pool (`limrank_ir.benchmarks.gpqa.pool.pool_files`).
        output: folder for the results.
        reader: the model that answers.
        judge: the model that says whether an answer is correct, or None.
        systems: the rerankers' names.
        settings: how to measure.

    Returns:
        The figures of the closed book, of BM25's order, and of each reranker's; and all of them compared.

    Raises:
        InputError: the input is malformed, the folder has results of other settings, or a server rejects a request.
        EngineError: a server is down, or a model fails. What was judged and answered is saved.
    """
    need("bench gpqa", "bench", *NEEDED)
    _check(reader, settings)
    for model in filter(None, (reader, judge)):
        check_key(model.server, model.name)
    data = read_questions(questions_file, seed=settings.seed)
    files = pool_files(pool)
    work = output / "work"
    rerankers = read_systems(systems, settings.models, work / "verdicts.sqlite", thoughts=False)
    described = _settings(reader, judge, settings)
    hashes = {"questions": data.fingerprint, "pool": fingerprint(files)}
    stage = output / "runs" / f"{FIRST_STAGE}.run.gz"
    found = None if stage.exists() else search(files, _topics(data, settings), data.canaries, k=settings.depth)
    claim(output, {**{f"--{name}": value for name, value in described.items()}, **hashes})
    if found is not None:
        write_run(stage, found, tag=FIRST_STAGE)
    conditions: list[Condition] = []
    journal = Journal(work / "answers.sqlite")
    with measured() as usage:
        try:
            asking = Reader(reader, judge, journal, [question.shown for question in data.questions])
            conditions.append(_ask(asking, CLOSED_BOOK, data.questions, {}, {}, settings))
            documents = read_run(stage)
            passages = read_pool(files, {entry.docno for entries in documents.values() for entry in entries})
            conditions.append(_ask(asking, FIRST_STAGE, data.questions, documents, passages, settings))
            for system in rerankers:
                ranking, took = _rerank(system, documents, data, passages, output, settings)
                conditions.append(_ask(asking, system.label, data.questions, ranking, passages, settings, took))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {len(journal)} answers and all verdicts so far are saved in {work}; "
                "run the same command again to resume"
            ) from None
        finally:
            journal.close()
    every, compared = [figures(condition) for condition in conditions], comparisons(conditions)
    write_json(output / "results.json", records(every, compared, conditions, data.questions, described))
    device = settings.models.get("device")
    card = run_card(settings=described, data=hashes, systems=rerankers, device=device, usage=usage)
    write_card(output, card)
    with replacing(output / "results.md") as file:
        file.write(page(every, compared, conditions, data.questions, described, card["environment"]))
    return every, compared


def _check(reader: Model, settings: GpqaSettings) -> None:
    """Refuse settings that contradict each other."""
    if settings.k > settings.depth:
        raise InputError(f"-k {settings.k}: more than the {settings.depth} passages of --depth; lower it")
    if settings.samples > 1 and not reader.parameters.get("temperature"):
        raise InputError(f"--samples {settings.samples}: at temperature 0 all are the same; give --temperature 0.8")


def _settings(reader: Model, judge: Model | None, settings: GpqaSettings) -> dict[str, Any]:
    """The options that all results in a folder must share."""
    parameters = {name: value for name, value in reader.parameters.items() if name not in ("temperature", "seed")}
    return {
        "reader-model": reader.name,
        "judge-model": None if judge is None else judge.name,
        "k": settings.k,
        "depth": settings.depth,
        "query": "full" if settings.choices else "question",
        "temperature": reader.parameters.get("temperature", 0),
        "samples": settings.samples,
        "seed": settings.seed,
        "max-length": settings.models.get("max_length"),
        "reader-option": parameters,
    }


def _topics(data: Questions, settings: GpqaSettings) -> list[Topic]:
    return [question.topic(choices=settings.choices) for question in data.questions]


def _ask(
    reader: Reader,
    name: str,
    questions: Sequence[Question],
    ranking: Mapping[str, Sequence[RunEntry]],
    passages: Mapping[str, Passage],
    settings: GpqaSettings,
    work: Mapping[str, Any] | None = None,
) -> Condition:
    """The reader's answers with the best passages of a ranking."""
    requests = [
        Request(
            question,
            tuple(passages[entry.docno].reader_text for entry in ranking.get(question.qid, ())[: settings.k]),
            sample,
        )
        for question in questions
        for sample in range(settings.samples)
    ]
    with console.progress(f"{name}: asking", len(requests), "answers") as advance:
        remaining = iter(reader.ask(requests, advance))
    answers = {question.qid: [next(remaining) for _ in range(settings.samples)] for question in questions}
    return Condition(name, answers, work)


def _rerank(
    system: System,
    documents: Mapping[str, list[RunEntry]],
    data: Questions,
    passages: Mapping[str, Passage],
    output: Path,
    settings: GpqaSettings,
) -> tuple[dict[str, list[RunEntry]], dict[str, Any]]:
    """A system's ranking and what it took, from an earlier call if the system is the same."""
    run, saved = output / "runs" / f"{system.file_name}.run.gz", output / "work" / f"{system.file_name}.json"
    if run.exists() and saved.exists() and (record := read_json(saved))["identity"] == system.identity:
        return read_run(run), record["work"]
    topics = {topic.qid: topic for topic in _topics(data, settings)}
    with withheld(question.shown for question in data.questions):
        found = rerank(system, system.start(), documents, topics, passages, label="GPQA")
    write_run(run, found.alone, tag=run_tag(system.label))
    record = {"identity": system.identity, "work": dataclasses.asdict(found.work)}
    write_json(saved, record)
    return read_run(run), record["work"]
