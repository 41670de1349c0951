"""The command line of the benchmarks: ``limrank bench``. `limrank_ir.cli.app` imports it on demand."""

from __future__ import annotations

import typer

from .ablate.cli import ablate
from .bright.cli import bright
from .compare.cli import compare
from .errors.cli import errors
from .followir.cli import followir
from .gpqa.cli import gpqa
from .heads.cli import ir_metadata
from .layers.cli import layers
from .litsearch.cli import litsearch
from .speed.cli import speed
from .suite.cli import between, render, suite
from .think.cli import think

app = typer.Typer(rich_markup_mode="markdown")

for command in (
    suite,
    render,
    between,
    bright,
    followir,
    litsearch,
    gpqa,
    ablate,
    compare,
    ir_metadata,
    errors,
    think,
    layers,
    speed,
):
    app.command()(command)
