"""The commands ``limrank bench suite`` and ``limrank bench render``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import check_folder


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

    from ..environment import command_line
    from ..systems.by_name import DEFAULT_SYSTEMS
    from .run import SuiteSettings, run_suite
    from .tables import averages, finding

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
    report = run_suite(folders, system or DEFAULT_SYSTEMS, output, settings, command=command_line())
    console.table(*averages(report))
    console.log.info("%s. %s", *finding(report))
    console.log.info("wrote results.md, .csv, .json, .html, and plot.png to %s", output)


def render(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `bench suite` wrote.")],
    quiet: o.Quiet = False,
) -> None:
    """Write the tables, pages, and plots of earlier runs again, from their results.json. No model runs.

    For example:

        limrank bench render benchmarks/results/developer
    """
    from .report import read_report, write_report

    for folder in folders:
        write_report(read_report(folder), folder)
        console.log.info("wrote results.md, .csv, .json, .html, and plot.png to %s", folder)
