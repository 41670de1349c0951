"""The command ``limrank bench speed``."""

from __future__ import annotations

from typing import Annotated

import typer

from limrank_ir.cli import options as o
from limrank_ir.formats.output import write_json
from limrank_ir.models import DEFAULT


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
    from .measure import measure, show

    figures = measure(model, pairs, repeats, device, dtype, batch_tokens, also or [])
    if as_json:
        write_json(figures)
    else:
        show(figures)
