"""The commands ``limrank bench suite`` and ``limrank bench render``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import check_folder, write_stdout

MARGIN = 0.01  # `limrank_ir.ranking.statistics.MARGIN`, which would import NumPy


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
            help="bm25, dense, a model, MODEL+ADAPTER, MODEL@RANKER, or cross-encoder:FOLDER. Repeat it for several.  "
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
    test: o.TestName = "auto",
    correction: o.CorrectionName = "holm",
    equivalent: Annotated[
        float,
        typer.Option(metavar="MARGIN", help="Systems that differ by less are the same; tested before it is said."),
    ] = MARGIN,
    latency: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Judge N sampled queries one at a time, for seconds per query.  [default: none]"
        ),
    ] = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Compare P(true) of LimRank models with the judgments.")
    ] = False,
    bins: Annotated[
        Literal["width", "mass"],
        typer.Option(metavar="KIND", help="Of --calibration: width (0 to 0.1, ...) or mass (as many pairs in each)."),
    ] = "width",
    fuse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="Report this fusion of systems, too: bm25,dense,limrank-smol, or bm25=1,dense=2. Repeatable.",
        ),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs/--no-runs", help="Put the TREC runs into the folder.")] = True,
    quiet: o.Quiet = False,
) -> None:
    """Measure rerankers on many collections: nDCG@10 and RR@10, alone and fused with the first stage.

    The first stage is the collection's run.bm25, or BM25 within its run.pool, run.candidates, or run.choices, or BM25
    over the corpus. Each system is compared with the first stage: difference with 95% confidence interval, effect size,
    queries won, tied, and lost, corrected p-value, and whether it is the same within a margin. Results are saved as
    they come: run the same command again to resume.

    For example:

        limrank bench suite collections/* --queries 50 -o benchmarks/results/first
    """
    from limrank_ir.models import ModelOptions

    from ..environment import command_line
    from ..systems.by_name import DEFAULT_SYSTEMS
    from .results import PRIMARY, Statistics
    from .run import SuiteSettings, run_suite
    from .tables import averages, finding, overall

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
    if not 0 < equivalent < math.inf:
        raise InputError(f"--equivalent {equivalent:g}: give a difference above 0, such as 0.01")
    settings = SuiteSettings(
        k,
        queries,
        seed,
        runs,
        models,
        statistics=Statistics(test, correction, equivalent),
        latency=latency,
        calibration=bins if calibration else None,
        fuse=fuse or (),
    )
    report = run_suite(folders, system or DEFAULT_SYSTEMS, output, settings, command=command_line())
    console.table(*averages(report))
    if report.systems:
        write_stdout("\n")
        console.table(*overall(report, PRIMARY))
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


def between(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A folder that `bench suite` wrote.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="What a system of OLD is called in NEW; also in fusions. Repeatable."),
    ] = None,
    measure: Annotated[Literal["nDCG@10", "RR@10"], typer.Option(metavar="NAME", help="nDCG@10 or RR@10.")] = "nDCG@10",
    test: Annotated[
        Literal["randomization", "wilcoxon", "t", "bootstrap", "auto"],
        typer.Option(metavar="NAME", help="As for `bench suite`."),
    ] = "auto",
    correction: Annotated[
        Literal["holm", "bh", "none"], typer.Option(metavar="NAME", help="Of the p-values, over the systems.")
    ] = "holm",
    equivalent: Annotated[float, typer.Option(metavar="MARGIN", help="As for `bench suite`.")] = MARGIN,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Compare the systems of two results of the suite, query by query: is the new one better than the old?

    Over the collections and queries that both have; each collection has the same weight.

    For example:

        limrank bench between results/shipped results/mine --rename limrank-smol=mine
    """
    from limrank_ir.formats.output import write_json
    from limrank_ir.ranking.statistics import describe

    from .between import between as find
    from .between import table
    from .report import read_report
    from .results import Statistics

    if not 0 < equivalent < math.inf:
        raise InputError(f"--equivalent {equivalent:g}: give a difference above 0, such as 0.01")
    renamed = {}
    for each in rename or ():
        was, equals, now = each.rpartition("=")
        if not (was and equals and now):
            raise InputError(f"--rename {each}: write OLD=NEW, the system's name in each of the results")
        renamed[was] = now
    statistics = Statistics(test, correction, equivalent)
    found = find(read_report(old), read_report(new), measure=measure, renamed=renamed, statistics=statistics)
    for line in found.left_out:
        console.log.warning("not compared: %s", line)
    if as_json:
        write_json(found.as_json())
        return
    console.table(*table(found))
    console.log.info(
        "%s of %d queries in %d collections; p: %s",
        measure,
        sum(found.collections.values()),
        len(found.collections),
        describe([each.comparison for each in found.differences]),
    )
