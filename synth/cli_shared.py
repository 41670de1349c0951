"""What the commands of the synthesizer share: options, checks before money is spent, and the end of a synthesis."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.output import check_folder
from limrank_ir.llm.chat import check_key
from limrank_ir.llm.journal import Journal

from .config import ChatModel, SynthConfig, read_config
from .filters import hardness
from .outputs import ALPACA, FOLDER, PAIRS, write_outputs
from .pipeline import Synthesis
from .prices import Prices

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to make, of what, with which models.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where everything goes, instead of output.")
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, metavar="DOLLARS", help="Stop before more is spent, earlier runs included."),
]
MaxRequests = Annotated[
    int | None, typer.Option("--max-requests", min=0, metavar="N", help="Stop after so many requests.")
]
PriceFile = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE", help="Your prices, in the layout of prices.yaml.")
]
Again = Annotated[
    bool, typer.Option("--again", help="Ask again where an older version kept what is no answer, such as an error.")
]


def read(config: Path, output: Path | None, *needs: str) -> SynthConfig:
    """Read a configuration, and make sure that what a command needs is installed before it begins.

    Args:
        config: the file.
        output: the folder for results, instead of the file's.
        *needs: packages that the command needs beside the reader of the file.

    Raises:
        InputError: the configuration is wrong, or a package is missing.
    """
    need("synth", "synth", "yaml", *needs)
    settings = read_config(config, output=output)
    check_folder(f"output {settings.output}" if output is None else f"-o {output}", settings.output)
    return settings


def read_for_stages(config: Path, output: Path | None, *needs: str) -> SynthConfig:
    """As `read`, for a command that may run all stages and filters: the last one's packages are missed at the start."""
    settings = read(config, output, "scipy", "datasketch", "sklearn", *needs)
    if settings.filters.hard is not None:
        need("synth with filters.hard", "synth", *hardness.NEEDS)
    return settings


def check_models(models: Iterable[ChatModel], table: Prices, max_cost: float | None) -> None:
    """Make sure that models can be asked, and a limit be kept, before anything is.

    Args:
        models: the models.
        table: what they cost.
        max_cost: the limit, or None.

    Raises:
        InputError: a key is missing, or a price.
    """
    for model in models:
        check_key(model.server, model.model)
        if max_cost is not None and table.of(model.model) is None:
            raise InputError(f"--max-cost: {model.model} has no price; give one with --prices")


def journal_of(settings: SynthConfig) -> Journal:
    """The journal of a synthesis."""
    return Journal(settings.output / "answers.sqlite")


def finish(settings: SynthConfig, result: Synthesis) -> None:
    """Write the data set of a synthesis that is done, and say what it holds.

    Args:
        settings: the synthesis.
        result: a whole result.

    Raises:
        InputError: nothing is left, or a file cannot be written.
    """
    if not result.pairs:
        raise InputError("nothing is left after the filters; see what they dropped with: limrank synth report")
    write_outputs(settings.output / FOLDER, result, settings)
    queries = len({pair.query.id for pair in result.pairs})
    relevant = sum(pair.label for pair in result.pairs)
    console.log.info(
        "%d pairs of %d queries, %d relevant, in %s (%s, %s)",
        *(len(result.pairs), queries, relevant, settings.output / FOLDER, ALPACA, PAIRS),
    )
