"""The commands that work with files of answers: ``limrank synth batch-write``, ``batch-read``, and ``replay``."""

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
from .cli_shared import (
    Again,
    ConfigFile,
    Output,
    finish,
    journal_of,
    note_judge,
    note_other_servers,
    read,
    read_for_stages,
)
from .config import SynthConfig
from .pipeline import synthesize


def batch_write(
    config: ConfigFile,
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS.jsonl", help="Batch file to write.")],
    output: Output = None,
    again: Again = False,
    quiet: o.Quiet = False,
) -> None:
    """Write the requests of the next stage as an OpenAI batch file: half the price, and anything can answer it.

    Once all stages are answered, write the data set.

    For example:

        limrank synth batch-write synth.yaml requests.jsonl

        limrank synth batch-read synth.yaml requests.jsonl answers.jsonl
    """
    settings = read_for_stages(config, output)
    _servers(settings)
    note_judge(settings)
    journal = journal_of(settings)
    note_other_servers(journal, (settings.generator, settings.judge))
    offline = Offline(journal, again=again)
    result = asyncio.run(synthesize(settings, offline))
    if result.waiting is None:
        finish(settings, result)
        return
    # By hash: in the order of the stage, who answers one by one could tell a positive by its place.
    paths = write_batch(requests, {key: offline.missing[key][1] for key in sorted(offline.missing)})
    (model,) = {model.model for model, _ in offline.missing.values()}
    count = len(offline.missing)
    console.log.info("%d requests to %s (%s) written to %s", count, model, result.waiting, ", ".join(map(str, paths)))


def batch_read(
    config: ConfigFile,
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS.jsonl", help="The batch file that was answered.")],
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS.jsonl...", help="What the provider returned.")],
    output: Output = None,
    quiet: o.Quiet = False,
) -> None:
    """Read the answers to a batch. The next batch-write repeats the requests that were not answered.

    For example:

        limrank synth batch-read synth.yaml requests.jsonl answers.jsonl
    """
    settings = read(config, output)
    asked, servers = read_requests(requests), _servers(settings)
    journal = journal_of(settings)
    taken = 0
    for path in answers:
        count, left = read_batch(path, asked, journal, servers)
        taken += count
        for reason, number in left.items():
            console.log.warning("%s: %d not answered: %s", path, number, reason)
    console.log.info("%d of %d requests answered", taken, len(asked))


def replay(
    config: ConfigFile,
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS.jsonl...", help="The answers to all requests.")],
    output: Output = None,
    quiet: o.Quiet = False,
) -> None:
    """Rebuild a data set from the answers that it was made from: the same bytes, without any request.

    For example:

        limrank synth replay synth.yaml answers.jsonl.gz
    """
    settings = read_for_stages(config, output)
    journal = journal_of(settings)
    offline = Offline(journal, files=read_answers(answers))
    try:
        result = asyncio.run(synthesize(settings, offline))
    finally:
        offline.keep()
    if result.waiting is not None:
        missing = len(offline.missing)
        raise InputError(f"{missing} answers for the {result.waiting} are in none of these files; add their file")
    finish(settings, result)


def _servers(settings: SynthConfig) -> dict[str, str]:
    """Model to the server that its answers in batch files count for.

    Raises:
        InputError: the generator and the judge have one name at two servers, which batch files do not tell apart.
    """
    servers = {model.model: model.address for model in (settings.generator, settings.judge)}
    if servers[settings.generator.model] != settings.generator.address:
        name = settings.generator.model
        raise InputError(
            f"generator and judge are both called {name}, but at two servers, which batch files do not tell apart; "
            "give both the same identity if they are the same model, or use: limrank synth run"
        )
    return servers
