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
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the runs and the report go.")
    ] = Path("limrank-demo"),
    k: o.Depth = 10,
    queries: Annotated[int, typer.Option(min=1, metavar="N", help="How many of the 100 queries.")] = 60,
    model: o.ModelName = DEFAULT,
    think: o.ThinkMode = None,
    quiet: o.Quiet = False,
) -> None:
    """Search Python's own documentation, rerank what was found, and show what that changed.

    Needs no data and no GPU, and takes some minutes.

    For example:

        limrank demo
    """
    need("demo", "pyterrier", "pyterrier", "pyterrier_pisa", "ir_measures")
    from limrank_ir.demo.run import run_demo

    run_demo(out, k=k, count=queries, model=model, think=think, quiet=quiet)
