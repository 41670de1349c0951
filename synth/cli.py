"""The command line of the synthesizer: ``limrank synth``. `limrank_ir.cli` imports it lazily."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from limrank_ir import __version__, console
from limrank_ir import options as o
from limrank_ir.chat import check_key
from limrank_ir.errors import InputError
from limrank_ir.files import replacing
from limrank_ir.journal import Journal
from limrank_ir.output import write_stdout

from .ask import Limits, Offline, Online
from .batch import read_answers, read_batch, read_requests, write_batch
from .config import Config, Model, read_config
from .mix import mix as mixed
from .mix import read_rows
from .outputs import ALPACA, FOLDER, PAIRS, write_json, write_lines, write_outputs
from .pipeline import STAGES, Progress, Result, couples_of, synthesize
from .plan import plan
from .prices import Prices, read_prices, usage
from .templates import NAMES, version

AUDIT = "audit.json"
T = TypeVar("T")

app = typer.Typer(rich_markup_mode="markdown")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to make, of what, with which models.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where everything goes, instead of output.")
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, metavar="DOLLARS", help="Stop before more is spent, earlier runs included."),
]
MaxRequests = Annotated[
    int | None, typer.Option("--max-requests", min=0, metavar="N", help="Stop after so many requests.")
]
PriceFile = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE", help="Your prices, in the layout of prices.yaml.")
]


@app.command()
def run(
    config: ConfigFile,
    output: Output = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    prices: PriceFile = None,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help=f"Stop when this stage is answered: {', '.join(STAGES)}.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check everything, and say what it will ask and about what it costs.")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Make training data: queries, passages and judgments, written by language models and filtered.

    Every answer is kept before it is used. A run that was stopped, or stopped itself, goes on when the same command is
    given again, and pays for nothing twice.

    For example:

        limrank synth run synth.yaml --dry-run

        limrank synth run synth.yaml --max-cost 20
    """
    settings, table = read_config(config, output=output), read_prices(prices)
    if until is not None and until not in STAGES:
        raise InputError(f"--until {until}: choose one of: {', '.join(STAGES)}")
    if dry_run:
        _show_plan(settings, table)
        return
    _check_models((settings.generator, settings.judge), table, max_cost)
    journal = Journal(settings.output / "answers.sqlite")
    online = Online(journal, table, Limits(max_requests, max_cost))
    result = asyncio.run(_closing(online, synthesize(settings, online, until=until, progress=_progress(online))))
    console.log.info("; ".join([f"{online.requests:,} requests", *_totals(journal, table)]))
    if result.until:
        console.log.info("the %s are answered; without --until the same command goes on", until)
        return
    _stop_if_waiting(result.waiting, online)
    _finish(settings, result, journal, table)


def _check_models(models: Iterable[Model], table: Prices, max_cost: float | None) -> None:
    """Make sure that models can be asked, and a limit be kept, before anything is."""
    for model in models:
        check_key(model.server, model.model)
        if max_cost is not None and table.of(model.model) is None:
            raise InputError(f"--max-cost: {model.model} has no price; give one with --prices")


async def _closing(online: Online, work: Awaitable[T]) -> T:
    try:
        return await work
    finally:
        await online.close()


def _progress(online: Online) -> Progress:
    def note() -> str:
        return f"{online.requests:,} requests, {online.tokens:,} tokens, ${online.spent:.2f}"

    return lambda stage, count: console.progress(stage, count, stage, note)


def _stop_if_waiting(stage: str | None, online: Online) -> None:
    if stage is None:
        return
    if online.fault is not None:
        raise online.fault
    console.log.warning("stopped at the %s: %s; the same command goes on", stage, online.stopped)
    raise typer.Exit(console.FAILURE)


@app.command()
def batch_write(
    config: ConfigFile,
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS.jsonl", help="Where the requests go.")],
    output: Output = None,
    quiet: o.Quiet = False,
) -> None:
    """Write the requests of the next stage as an OpenAI Batch file: half the price, and any responder can fill it in.

    When all stages are answered, the results are written.

    For example:

        limrank synth batch-write synth.yaml requests.jsonl

        limrank synth batch-read synth.yaml requests.jsonl answers.jsonl
    """
    settings = read_config(config, output=output)
    journal = Journal(settings.output / "answers.sqlite")
    offline = Offline(journal)
    result = asyncio.run(synthesize(settings, offline))
    if result.waiting is None:
        _finish(settings, result, journal, read_prices())
        return
    paths = write_batch(requests, {key: body for key, (_, body) in offline.missing.items()})
    (model,) = {model.model for model, _ in offline.missing.values()}
    count = len(offline.missing)
    console.log.info("%d requests to %s (%s) written to %s", count, model, result.waiting, ", ".join(map(str, paths)))


@app.command()
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
    settings = read_config(config, output=output)
    asked = read_requests(requests)
    journal = Journal(settings.output / "answers.sqlite")
    taken = 0
    for path in answers:
        count, left = read_batch(path, asked, journal)
        taken += count
        for reason, number in left.items():
            console.log.warning("%s: %d not answered: %s", path, number, reason)
    console.log.info("%d of %d requests are answered", taken, len(asked))


@app.command()
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
    settings = read_config(config, output=output)
    journal = Journal(settings.output / "answers.sqlite")
    known = read_answers(answers)
    while True:
        offline = Offline(journal)
        result = asyncio.run(synthesize(settings, offline))
        if result.waiting is None:
            break
        asked = {key: body for key, (_, body) in offline.missing.items()}
        if lacking := len(asked.keys() - known.keys()):
            raise InputError(f"{lacking} of {len(asked)} answers of the {result.waiting} are in none of these files")
        for key, body in asked.items():
            journal.put(body, known[key])
    _finish(settings, result, journal, read_prices())


@app.command()
def mine(
    config: ConfigFile,
    corpus: o.Corpus,
    topics: o.Topics,
    rows: Annotated[Path, typer.Option("--rows", metavar="FILE", help="The training rows to write: JSONL, or .gz.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, metavar="N", help="How many of each retriever's best.")] = 10,
    output: Output = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    prices: PriceFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Mine hard negatives from your own corpus: BM25 and a dense model find passages, the judge grades them.

    The rows have soft labels, for `limrank train` with the objective graded. Of the configuration, judge, samples,
    attempts and output count.

    For example:

        limrank synth mine synth.yaml --corpus corpus.jsonl --topics topics.tsv --rows mined.jsonl
    """
    from limrank_ir.corpus import iter_corpus
    from limrank_ir.trec import read_topics

    from .mine import groups
    from .mine import mine as grades

    settings, table = read_config(config, output=output), read_prices(prices)
    _check_models((settings.judge,), table, max_cost)
    texts = {passage.docno: passage.reader_text for passage in iter_corpus(corpus)}
    journal = Journal(settings.output / "answers.sqlite")
    online = Online(journal, table, Limits(max_requests, max_cost))
    asked = {topic.qid: topic.query for topic in read_topics(topics).values()}
    found = asyncio.run(_closing(online, grades(asked, texts, settings, online, depth=k, progress=_progress(online))))
    _stop_if_waiting("grades" if found.waiting else None, online)
    made = groups(found.made)
    write_lines(rows, made)
    console.log.info("%d graded passages, %d queries with rows, in %s", len(found.made), len(made), rows)


@app.command()
def mix(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE=N...", help="Files of rows, and how many rows to draw of each.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    seed: Annotated[int, typer.Option(metavar="N", help="Of all that is drawn.")] = 0,
    quiet: o.Quiet = False,
) -> None:
    """Mix rows of several files, such as Rank1's and your own, into one for LLaMA-Factory or `limrank train`.

    For example:

        limrank synth mix rank1.json=14000 runs/synth/train_limrank.json=6000 -o train_limrank.json
    """
    parts = []
    for source in sources:
        name, _, count = source.rpartition("=")
        if not name or not count.isdecimal():
            raise InputError(f"{source}: must be FILE=N, such as rank1.json=14000")
        parts.append((read_rows(Path(name)), int(count)))
    rows = mixed(parts, seed=seed)
    write_json(output, rows)
    console.log.info("%d rows written to %s", len(rows), output)


@app.command()
def report(
    config: ConfigFile,
    output: Output = None,
    audit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What people marked.  [default: audit.json, if it is there]")
    ] = None,
    prices: PriceFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Write report.html: domains, difficulty, lengths, labels, losses, leaks, cost, and what people said.

    For example:

        limrank synth report synth.yaml
    """
    from .audit import read_audit
    from .report import report as figures
    from .report_page import report_page

    settings, table = read_config(config, output=output), read_prices(prices)
    result, journal = _answered(settings, config)
    place = audit or settings.output / AUDIT
    marks = read_audit(place, result.pairs) if audit is not None or place.exists() else None
    page = report_page(figures(result, settings, journal, table, marks), settings.output.name, _facts(settings))
    with replacing(settings.output / "report.html") as file:
        file.write(page)
    console.log.info("the report is %s", settings.output / "report.html")


@app.command()
def audit(
    config: ConfigFile,
    count: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many samples.")] = 100,
    output: Output = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the samples.")] = 0,
    quiet: o.Quiet = False,
) -> None:
    """Write audit.html, on which a person marks samples; what it saves, audit.json, is shown in the report.

    For example:

        limrank synth audit synth.yaml -n 100
    """
    from .audit import audit_page, samples

    settings = read_config(config, output=output)
    result, _ = _answered(settings, config)
    drawn = samples(result.pairs, count, seed=seed)
    with replacing(settings.output / "audit.html") as file:
        file.write(audit_page(drawn, settings.output.name))
    console.log.info("%d samples are in %s; open it in a browser", len(drawn), settings.output / "audit.html")


def _answered(settings: Config, config: Path) -> tuple[Result, Journal]:
    """The result of a synthesis that is done, from its journal."""
    place = settings.output / "answers.sqlite"
    if not place.exists():
        raise InputError(f"{place}: not there; first run: limrank synth run {config}")
    journal = Journal(settings.output / "answers.sqlite")
    result = asyncio.run(synthesize(settings, Offline(journal)))
    if result.waiting is not None:
        raise InputError(
            f"{place}: answers of the {result.waiting} are missing; go on with: limrank synth run {config}"
        )
    return result, journal


def _facts(settings: Config) -> list[tuple[str, str]]:
    return [
        ("couples", f"{settings.couples:,}"),
        ("generator", settings.generator.model),
        ("judge", f"{settings.judge.model}, {settings.samples} judgments a pair"),
        ("seed", str(settings.seed)),
        *((f"prompt {name}", version(name)) for name in NAMES),
        ("limrank-ir", __version__),
    ]


def _finish(settings: Config, result: Result, journal: Journal, table: Prices) -> None:
    if not result.pairs:
        raise InputError("nothing is left after the filters; see what they dropped with: limrank synth report")
    write_outputs(settings.output / FOLDER, result, settings)
    queries = len({pair.query.id for pair in result.pairs})
    relevant = sum(pair.label for pair in result.pairs)
    console.log.info(
        "%d pairs of %d queries, %d relevant, in %s (%s, %s)",
        *(len(result.pairs), queries, relevant, settings.output / FOLDER, ALPACA, PAIRS),
    )


def _show_plan(settings: Config, table: Prices) -> None:
    couples_of(settings)
    steps = plan(settings, table)
    rows = [
        (
            *(step.stage, step.model, f"{step.requests:,}", f"{step.prompt_tokens:,}", f"{step.response_tokens:,}"),
            "unknown" if step.cost is None else f"{step.cost:,.2f}",
        )
        for step in steps
    ]
    console.table(("stage", "model", "requests", "prompt tokens", "response tokens", "dollars"), rows, left=2)
    if all(step.cost is not None for step in steps):
        total = sum(step.cost or 0 for step in steps)
        write_stdout(
            f"\nabout {total:,.2f} dollars; half of what a provider with batches gets, by batch files. An estimate\n"
        )


def _totals(journal: Journal, table: Prices) -> list[str]:
    """What the whole journal took, model by model."""
    by_model: dict[str, list[Any]] = {}
    for body, answer in journal:
        by_model.setdefault(body["model"], []).append(answer)
    said = []
    for model, answers in sorted(by_model.items()):
        tokens = [usage(answer) for answer in answers]
        costs = [table.cost(model, answer) for answer in answers]
        money = "" if None in costs else f", ${sum(cost or 0 for cost in costs):,.2f}"
        inside, outside = sum(each.prompt for each in tokens), sum(each.response for each in tokens)
        said.append(f"{model}: {len(answers):,} answers, {inside:,} + {outside:,} tokens{money}")
    return said
