"""``limrank synth``: the command line of the synthesizer. `limrank_ir.cli.app` imports it lazily."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.cli.shell import FAILURE
from limrank_ir.errors import InputError
from limrank_ir.formats.output import check_folder, write_stdout
from limrank_ir.formats.words import duration
from limrank_ir.llm.journal import Journal

from .ask import Online, SpendingLimits
from .cli_batch import batch_read, batch_write, replay
from .cli_look import audit, report
from .cli_rules import rules
from .cli_shared import (
    Again,
    ConfigFile,
    MaxCost,
    MaxRequests,
    Output,
    PriceFile,
    check_models,
    finish,
    journal_of,
    note_judge,
    note_other_servers,
    read,
    read_for_stages,
)
from .config import SynthConfig
from .filters import hardness
from .mix import mix as mixed
from .mix import read_rows
from .outputs import write_json, write_lines, write_stages
from .pipeline import STAGES, Progress, prepare, synthesize
from .plan import TOKENS_PER_SECOND, durations, plan
from .prices import Prices, costs, read_prices

T = TypeVar("T")

app = typer.Typer(rich_markup_mode="markdown")


@app.command()
def run(
    config: ConfigFile,
    output: Output = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    prices: PriceFile = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help=f"Stop after this stage and write what it made. One of: {', '.join(STAGES)}."
        ),
    ] = None,
    again: Again = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only check everything, and show what a run would ask and cost, roughly."),
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Make training data: queries, passages, and judgments, written by language models and filtered.

    Every answer is saved before it is used. If a run stops, the same command continues it and pays for nothing twice.

    For example:

        limrank synth run synth.yaml --dry-run

        limrank synth run synth.yaml --max-cost 20
    """
    settings, table = read_for_stages(config, output, *([] if dry_run else ["openai"])), read_prices(prices)
    note_judge(settings)
    if until is not None and until not in STAGES:
        raise InputError(f"--until {until}: unknown stage; choose from: {', '.join(STAGES)}")
    if dry_run:
        _show_plan(settings, table)
        return
    check_models((settings.generator, settings.judge), table, max_cost)
    journal = journal_of(settings)
    note_other_servers(journal, (settings.generator, settings.judge))
    online = Online(journal, table, SpendingLimits(max_requests, max_cost), again=again)
    result = asyncio.run(_closing(online, synthesize(settings, online, until=until, progress=_progress(online))))
    console.log.info("; ".join([f"{online.requests:,} requests", *_totals(journal, table)]))
    for step, reason, count in result.losses:
        if step.endswith(": answers"):
            _note_dropped(step, reason, count)
    _note_unusable(online, again=again)
    _stop_if_waiting(result.waiting, online)
    if until is None or until == STAGES[-1]:
        finish(settings, result)
        return
    places = ", ".join(map(str, write_stages(settings.output, result)))
    console.log.info("the %s are complete: see %s; to continue, leave out --until", until, places or "above")


def _note_dropped(step: str, reason: str, count: int) -> None:
    console.log.warning("%s: %d dropped, %s", step, count, reason)


def _note_unusable(online: Online, *, again: bool) -> None:
    if online.unusable and not again:
        console.log.warning(
            "%d saved answers are errors that an older version kept; repeat these requests with --again",
            online.unusable,
        )


async def _closing(online: Online, work: Awaitable[T]) -> T:
    try:
        return await work
    finally:
        await online.close()


def _progress(online: Online) -> Progress:
    def note() -> str:
        asked = f"{online.requests:,} requests, {online.in_flight} in flight"
        return f"{asked}, {online.tokens:,} tokens, ${online.spent:.2f}"

    return lambda stage, count: console.progress(stage, count, stage, note)


def _stop_if_waiting(stage: str | None, online: Online) -> None:
    if stage is None:
        return
    if online.fault is not None:
        raise online.fault
    console.log.warning("stopped at the %s: %s; run the same command to continue", stage, online.stopped)
    raise typer.Exit(FAILURE)


app.command()(batch_write)
app.command()(batch_read)
app.command()(replay)


@app.command()
def mine(
    config: ConfigFile,
    corpus: o.CorpusFile,
    topics: o.TopicsFile,
    rows: Annotated[Path, typer.Option("--rows", metavar="FILE", help="Training rows to write: JSONL, or .gz.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, metavar="N", help="Passages to grade per retriever.")] = 10,
    output: Output = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    prices: PriceFile = None,
    again: Again = False,
    quiet: o.Quiet = False,
) -> None:
    """Mine hard negatives from your own corpus: BM25 and a dense model find passages, and the judge grades them.

    The rows have soft labels, for `limrank train` with the objective graded. Of the configuration, only judge, samples,
    attempts, prompts, license, and output are used.

    For example:

        limrank synth mine synth.yaml --corpus corpus.jsonl --topics topics.tsv --rows mined.jsonl
    """
    from limrank_ir.formats.corpus import iter_corpus
    from limrank_ir.formats.trec import read_topics

    from .mine import groups
    from .mine import mine as grades

    settings, table = read(config, output, "openai", *hardness.NEEDS), read_prices(prices)
    check_models((settings.judge,), table, max_cost)
    note_judge(settings)
    check_folder(f"--rows {rows}", rows.absolute().parent)
    texts = {passage.docno: passage.reader_text for passage in iter_corpus(corpus)}
    journal = journal_of(settings)
    note_other_servers(journal, (settings.judge,))
    online = Online(journal, table, SpendingLimits(max_requests, max_cost), again=again)
    asked = {topic.qid: topic.query for topic in read_topics(topics).values()}
    found = asyncio.run(_closing(online, grades(asked, texts, settings, online, depth=k, progress=_progress(online))))
    for reason, count in sorted(found.dropped.items()):
        _note_dropped("grades: answers", reason, count)
    _note_unusable(online, again=again)
    _stop_if_waiting("grades" if found.waiting else None, online)
    made = groups(found.made, settings.license)
    if not made:
        raise InputError(
            f"{len(found.made)} passages graded, but no query has both a relevant and another one; raise -k, or look "
            "at the topics and the corpus"
        )
    write_lines(rows, made)
    counts = len(found.made), len(made), len(asked)
    console.log.info("%d passages graded; rows for %d of %d queries in %s", *counts, rows)


@app.command()
def mix(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE=N...", help="Files of rows, and how many rows to draw from each.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0,
    quiet: o.Quiet = False,
) -> None:
    """Mix rows from several files, such as Rank1's and your own, for LLaMA-Factory or `limrank train`.

    For example:

        limrank synth mix rank1.json=14000 runs/synth/train_limrank.json=6000 -o train_limrank.json
    """
    check_folder(f"-o {output}", output.absolute().parent)
    parts = []
    for source in sources:
        name, _, count = source.rpartition("=")
        if not name or not count.isdecimal():
            raise InputError(f"{source}: not FILE=N; write, for example, rank1.json=14000")
        parts.append((read_rows(Path(name)), int(count)))
    rows = mixed(parts, seed=seed)
    write_json(output, rows)
    console.log.info("%d rows written to %s", len(rows), output)


app.command()(report)
app.command()(audit)
app.command()(rules)


def _show_plan(settings: SynthConfig, table: Prices) -> None:
    prepare(settings)
    steps = plan(settings, table)
    rows = [
        (
            *(step.stage, step.model, f"{step.requests:,}", f"{step.prompt_tokens:,}", f"{step.response_tokens:,}"),
            "unknown" if step.cost is None else f"{step.cost:,.2f}",
        )
        for step in steps
    ]
    console.table(("stage", "model", "requests", "prompt tokens", "response tokens", "dollars"), rows, left=2)
    least, most = map(duration, durations(settings, steps))
    write_stdout(
        f"\nabout {least if least == most else f'{least} to {most}, as fast as the servers allow'} if an answer is "
        f"written at {TOKENS_PER_SECOND:g} tokens/s\n"
    )
    if all(step.cost is not None for step in steps):
        total = sum(step.cost or 0 for step in steps)
        write_stdout(
            f"about {total:,.2f} dollars (an estimate); batch files cost half at providers that offer batches\n"
        )


def _totals(journal: Journal, table: Prices) -> list[str]:
    """Sum up the whole journal, model by model."""
    said = []
    for each in costs(journal, table):
        money = "" if each.dollars is None else f", ${each.dollars:,.2f}"
        tokens = f"{each.prompt_tokens:,} + {each.response_tokens:,} tokens"
        said.append(f"{each.model}: {each.answers:,} answers, {tokens}{money}")
    return said
