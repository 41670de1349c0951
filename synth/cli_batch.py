"""The commands that take answers from files: ``limrank synth batch-write``, ``batch-read`` and ``replay``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError

from .ask import Offline
from .batch import read_answers, read_batch, read_requests, write_batch
from .cli_shared import Again, ConfigFile, Output, finish, journal_of, read, read_for_stages
from .pipeline import synthesize


def batch_write(
    config: ConfigFile,
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS.jsonl", help="Where the requests go.")],
    output: Output = None,
    again: Again = False,
    quiet: o.Quiet = False,
) -> None:
    """Write the requests of the next stage as an OpenAI Batch file: half the price, and any responder can fill it in.

    When all stages are answered, the results are written.

    For example:

        limrank synth batch-write synth.yaml requests.jsonl

        limrank synth batch-read synth.yaml requests.jsonl answers.jsonl
    """
    settings = read_for_stages(config, output)
    journal = journal_of(settings)
    offline = Offline(journal, again=again)
    result = asyncio.run(synthesize(settings, offline))
    if result.waiting is None:
        finish(settings, result)
        return
    paths = write_batch(requests, {key: body for key, (_, body) in offline.missing.items()})
    (model,) = {model.model for model, _ in offline.missing.values()}
    count = len(offline.missing)
    console.log.info("%d requests to %s (%s) written to %s", count, model, result.waiting, ", ".join(map(str, paths)))


def batch_read(
    config: ConfigFile,
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS.jsonl", help="What was asked.")],
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS.jsonl...", help="What the provider gave back.")],
    output: Output = None,
    quiet: o.Quiet = False,
) -> None:
    """Take the answers of a batch. What was not answered is asked for again by the next batch-write.

    For example:

        limrank synth batch-read synth.yaml requests.jsonl answers.jsonl
    """
    settings = read(config, output)
    asked = read_requests(requests)
    journal = journal_of(settings)
    taken = 0
    for path in answers:
        count, left = read_batch(path, asked, journal)
        taken += count
        for reason, number in left.items():
            console.log.warning("%s: %d not answered: %s", path, number, reason)
    console.log.info("%d of %d requests are answered", taken, len(asked))


def replay(
    config: ConfigFile,
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS.jsonl...", help="The answers of all its batches.")],
    output: Output = None,
    quiet: o.Quiet = False,
) -> None:
    """Make a data set again from the answers that it was made of: the same bytes, and nothing is asked.

    For example:

        limrank synth replay synth.yaml answers.jsonl.gz
    """
    settings = read_for_stages(config, output)
    journal = journal_of(settings)
    offline = Offline(journal, files=read_answers(answers))
    result = asyncio.run(synthesize(settings, offline))
    if result.waiting is not None:
        raise InputError(f"{len(offline.missing)} answers of the {result.waiting} are in none of these files")
    finish(settings, result)
