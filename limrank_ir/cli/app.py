"""The command line: ``limrank``."""

from __future__ import annotations

import sys
from typing import Annotated, ClassVar

import typer

from limrank_ir import __version__
from limrank_ir.cli import console, shell
from limrank_ir.cli.cost import cost
from limrank_ir.cli.demo import demo
from limrank_ir.cli.evaluate import evaluate
from limrank_ir.cli.fuse import fuse
from limrank_ir.cli.judge import judge
from limrank_ir.cli.models import list_models
from limrank_ir.cli.rank_llm import rank_llm
from limrank_ir.cli.rankers import list_rankers
from limrank_ir.cli.requests import requests
from limrank_ir.cli.rerank import rerank
from limrank_ir.cli.retrieve import retrieve
from limrank_ir.cli.serve import serve
from limrank_ir.formats.output import write_stdout


class _Root(shell.Commands):
    lazy: ClassVar = dict.fromkeys(("train", "mine", "render", "average", "export", "push"), "limrank_ir.train.cli")


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        write_stdout(f"limrank-ir {__version__}\n")
        raise typer.Exit


@app.callback()
def _limrank(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Rerank passages with a language model that reads each one, can reason about it, and says how relevant it is.

    A typical workflow is `retrieve`, `rerank`, `eval`. For a quick look, run `limrank demo`.

    Results go to stdout or to files; notes and progress go to stderr.

    Exit status: 0 success; 2 wrong usage or bad input; 1 any other failure; 130 Ctrl-C.
    """


app.command()(retrieve)
app.command()(rerank)
app.command()(fuse)
app.command("eval")(evaluate)
app.command()(cost)
app.command()(judge)
app.command("models")(list_models)
app.command("rankers")(list_rankers)
app.command()(demo)
app.command()(serve)
app.command()(requests)
app.command(
    "rank-llm",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(rank_llm)


class _Bench(shell.Lazy):
    module = "limrank_ir.benchmarks.cli"


app.add_typer(typer.Typer(cls=_Bench, no_args_is_help=True), name="bench", help="Measure quality and speed.")


class _Synth(shell.Lazy):
    module = "limrank_ir.synth.cli"


app.add_typer(
    typer.Typer(cls=_Synth, no_args_is_help=True), name="synth", help="Make training data with a language model."
)


shell.customize(app)


def main() -> None:
    """Run the command line."""
    console.silence_libraries()
    app(prog_name=None if sys.argv[0].endswith("__main__.py") else "limrank")
