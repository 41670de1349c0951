"""The command ``limrank bench layers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import check_folder
from limrank_ir.models import DEFAULT


def layers(
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
    share: Annotated[
        list[float] | None,
        typer.Option(metavar="X", help="The share of candidates that leaves. Repeatable.  [default: 0.3 0.5 1]"),
    ] = None,
    k: o.Depth = 20,
    queries: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Sample this many judged topics from each collection.  [default: all]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sample.")] = 0,
    quiet: o.Quiet = False,
) -> None:
    """What each layer knows: do hopeless candidates that leave early, or fewer layers, keep the ranking?

    For example:

        limrank bench layers collections/* --queries 20 -o benchmarks/results/layers
    """
    from ..environment import command_line
    from .measure import SHARES, measure_layers, paying

    if wrong := [value for value in share or () if not 0 < value <= 1]:
        raise InputError(f"--share {wrong[0]:g}: give a share above 0, up to 1")
    check_folder(f"-o {output}", output)
    points = measure_layers(
        model,
        folders,
        output,
        adapter=adapter,
        prompt_format=prompt_format,
        shares=share or SHARES,
        k=k,
        queries=queries,
        seed=seed,
        command=command_line(),
    )
    found = paying(points)
    console.table(
        ["layer", "leave", "saved"], [[f"{layer}", f"{part:.0%}", f"{saved:.0%}"] for layer, part, saved in found[:5]]
    )
    console.log.info("wrote results.md and results.json to %s", output)
