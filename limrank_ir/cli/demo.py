"""``limrank demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import options as o
from limrank_ir.extras import need
from limrank_ir.models import DEFAULT


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the runs and the report.")
    ] = Path("limrank-demo"),
    k: o.Depth = 10,
    queries: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of queries, up to 100.  [default: 60, fewer on a slow machine]"),
    ] = None,
    model: o.ModelName = DEFAULT,
    think: o.ThinkMode = None,
    quiet: o.Quiet = False,
) -> None:
    """Search Python's documentation, rerank the results, and show what changed.

    Needs no data and no GPU, and ends within three minutes: it takes the fastest precision that hardly changes
    rankings, and on a slow machine fewer queries.

    For example:

        limrank demo
    """
    need("demo", "pyterrier", "pyterrier", "pyterrier_pisa", "ir_measures")
    from limrank_ir.demo.run import run_demo

    run_demo(out, k=k, count=queries, model=model, think=think, quiet=quiet)
