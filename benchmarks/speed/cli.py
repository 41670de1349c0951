"""The command ``limrank bench speed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import check_folder, write_json
from limrank_ir.models import DEFAULT


def speed(
    model: o.ModelName = DEFAULT,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormatName = None,
    length: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Passages: short, medium, long, or mixed. Repeatable.  [default: short, medium and long]",
        ),
    ] = None,
    candidates: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Passages for the query. Repeatable.  [default: 10 and 50]"),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds; the fastest counts.")] = 1,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Candidates for the plain loop and CrossEncoder, whose rate stays.  [default: 4 on a CPU, else 64]",
        ),
    ] = None,
    batch_tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens in LimRank's batches.")] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="ENGINE", help="Measure this engine, too: a URL. Repeatable.  [default: vllm, if any]"),
    ] = None,
    device: o.Device = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Precision. Repeatable.  [default: all that the machine computes fast]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Also write tables, a plot, and a run card.")
    ] = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Pairs per second: transformers, CrossEncoder, LimRank, and the limit.

    The same weights run as a plain transformers loop, as sentence-transformers' CrossEncoder, in LimRank's engines,
    and, for the limit, as the matrix products alone. All are measured in turns on the same pairs, so that their ratios
    hold on a noisy machine.

    For example:

        limrank bench speed --length mixed --candidates 50 -o speed
    """
    from .measure import SpeedSettings, engines_here
    from .run import run_speed, show

    if output is not None:
        check_folder(f"-o {output}", output)
    settings = SpeedSettings(
        lengths=length or SpeedSettings.lengths,
        candidates=candidates or SpeedSettings.candidates,
        adapter=adapter,
        prompt_format=prompt_format,
        repeats=repeats,
        sample=sample,
        dtypes=dtype,
        device=device,
        batch_tokens=batch_tokens,
        also=engines_here() if also is None else also,
    )
    figures = run_speed(model, settings, output)
    if as_json:
        write_json(figures)
    else:
        show(figures)
    if output is not None:
        console.log.info("wrote results.md, results.json, plot.png and card.json to %s", output)
