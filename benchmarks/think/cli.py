"""The command ``limrank bench think``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import check_folder
from limrank_ir.models import DEFAULT


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

    from ..environment import command_line
    from .measure import MARGINS, measure_think, table

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
        command=command_line(),
    )
    console.table(*table(points))
    console.log.info("wrote results.md and results.json to %s", output)
