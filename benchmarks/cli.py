"""The command line of the benchmarks: ``limrank bench``. `limrank_ir.cli.app` imports it on demand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import check_folder, write_json
from limrank_ir.models import DEFAULT

app = typer.Typer(rich_markup_mode="markdown")


@app.command()
def suite(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Collections (corpus.jsonl, topics.jsonl, qrels.txt), or folders that contain them."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")],
    system: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="bm25, dense, a model, MODEL+ADAPTER, or cross-encoder:FOLDER. Repeat it for several.  "
            "[default: bm25 dense limrank-smol]",
        ),
    ] = None,
    k: o.Depth = 20,
    queries: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Sample this many judged topics from each collection.  [default: all]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sample.")] = 0,
    max_length: o.MaxLength = None,
    prompt_format: o.PromptFormatName = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    runs: Annotated[bool, typer.Option("--runs/--no-runs", help="Put the TREC runs into the folder.")] = True,
    quiet: o.Quiet = False,
) -> None:
    """Measure rerankers on many collections: nDCG@10 and RR@10, alone and fused with the first stage.

    The first stage is the collection's run.bm25, or BM25 within its run.pool, run.candidates, or run.choices, or BM25
    over the corpus. Results are saved as they come: run the same command again to resume.

    For example:

        limrank bench suite collections/* --queries 50 -o benchmarks/results/first
    """
    from limrank_ir.models import ModelOptions

    from .suite.run import SuiteSettings, run_suite
    from .suite.systems import DEFAULT_SYSTEMS
    from .suite.tables import averages, finding

    check_folder(f"-o {output}", output)
    models = ModelOptions(
        max_length=max_length,
        prompt_format=prompt_format,
        think=think,
        budget=budget,
        engine=engine,
        engine_options=o.engine_options(engine_option),
        device=device,
        dtype=dtype,
    )
    settings = SuiteSettings(k, queries, seed, runs, models)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    report = run_suite(folders, system or DEFAULT_SYSTEMS, output, settings, command=command)
    console.table(*averages(report))
    console.log.info("%s. %s", *finding(report))
    console.log.info("wrote results.md, .csv, .json, .html, and plot.png to %s", output)


@app.command()
def render(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `bench suite` wrote.")],
    quiet: o.Quiet = False,
) -> None:
    """Write the tables, pages, and plots of earlier runs again, from their results.json. No model runs.

    For example:

        limrank bench render benchmarks/results/developer
    """
    from .suite.report import read_report, write_report

    for folder in folders:
        write_report(read_report(folder), folder)
        console.log.info("wrote results.md, .csv, .json, .html, and plot.png to %s", folder)


@app.command()
def speed(
    model: o.ModelName = DEFAULT,
    pairs: Annotated[int, typer.Option(min=1, metavar="N", help="Passages for the one query.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds; the fastest counts.")] = 3,
    batch_tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens in LimRank's batches.")] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE", help="Measure this engine, too: vllm, or a URL. Repeatable.")
    ] = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    as_json: o.Json = False,
) -> None:
    """Pairs per second: a plain transformers loop, LimRank, and the limit set by the matrix products alone.

    All are measured in turns on the same pairs, so that their ratios hold on a noisy machine.

    For example:

        limrank bench speed --pairs 32
    """
    from .speed import measure, show

    figures = measure(model, pairs, repeats, device, dtype, batch_tokens, also or [])
    if as_json:
        write_json(figures)
    else:
        show(figures)


@app.command()
def think(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Collections (corpus.jsonl, topics.jsonl, qrels.txt), or folders that contain them."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")],
    model: o.ModelName = DEFAULT,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormatName = None,
    margin: Annotated[
        list[float] | None,
        typer.Option(min=0.0, metavar="X", help="A margin of auto. Repeatable.  [default: 0.1 0.25 0.5 1]"),
    ] = None,
    k: o.Depth = 20,
    queries: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Sample this many judged topics from each collection.  [default: all]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sample.")] = 0,
    budget: o.Budget = 8192,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    max_length: o.MaxLength = None,
    quiet: o.Quiet = False,
) -> None:
    """What thinking costs and gains: nDCG@10, tokens, and time for never, auto with several margins, and always.

    Verdicts are kept in the folder: run the same command again to resume.

    For example:

        limrank bench think collections/* --queries 20 --budget 128 -o benchmarks/results/think
    """
    from limrank_ir.models import ModelOptions

    from .think import MARGINS, measure_think, table

    check_folder(f"-o {output}", output)
    options = ModelOptions(
        adapter=adapter,
        prompt_format=prompt_format,
        budget=budget,
        engine=engine,
        engine_options=o.engine_options(engine_option),
        device=device,
        dtype=dtype,
        max_length=max_length,
    )
    points = measure_think(
        model,
        folders,
        output,
        options,
        margins=margin or MARGINS,
        k=k,
        queries=queries,
        seed=seed,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )
    console.table(*table(points))
    console.log.info("wrote results.md and results.json to %s", output)
