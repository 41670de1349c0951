"""The command ``limrank bench followir``."""

from __future__ import annotations

from os.path import expanduser
from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import check_folder
from limrank_ir.models import DEFAULT


def followir(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")],
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK|DIR...",
            help="core17, news21, robust04 from the hub; folders with such a data set; or collections.  "
            "[default: all three]",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model, MODEL+ADAPTER, dense, or cross-encoder:FOLDER. Repeat it for several.  "
            f"[default: {DEFAULT}]",
        ),
    ] = None,
    k: o.Depth = 1000,
    queries: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Sample this many queries (or groups of them).  [default: all]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sample.")] = 0,
    mteb: Annotated[
        bool, typer.Option("--mteb", help="Write mteb's own result files, too, from the same verdicts.")
    ] = False,
    max_length: o.MaxLength = None,
    prompt_format: o.PromptFormatName = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    quiet: o.Quiet = False,
) -> None:
    """FollowIR: does a reranker follow instructions? p-MRR, MAP, and nDCG under original and changed instructions.

    All candidates of a query are scored under both instructions. Collections whose instructions or constraints differ
    are stand-ins. Verdicts are kept in the folder: run the same command again to resume.

    For example:

        limrank bench followir core17 --model limrank-7b -o results/followir
    """
    from limrank_ir.models import ModelOptions

    from .measure import FollowIrSettings, run_followir
    from .official import OFFICIAL
    from .report import averages_table, table
    from .results import averages

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
    settings = FollowIrSettings(k, queries, seed, mteb, models)
    measured, results = run_followir(
        [expanduser(name) for name in tasks or OFFICIAL], model or [DEFAULT], output, settings
    )
    console.table(*table(measured, results), left=2)
    if means := averages(results):
        console.table(*averages_table(means))
    console.log.info("wrote results.md, results.json, card.json, and runs to %s", output)
