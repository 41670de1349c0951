"""What the commands of the synthesizer share: options, checks before money is spent, and writing the data set."""

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

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Configuration: sources, models, filters.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Folder for everything, instead of the configured one."),
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, metavar="DOLLARS", help="Stop before spending more than this, over all runs."),
]
MaxRequests = Annotated[
    int | None, typer.Option("--max-requests", min=0, metavar="N", help="Stop after this many requests.")
]
PriceFile = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE", help="Your own prices, in the layout of prices.yaml.")
]
Again = Annotated[
    bool, typer.Option("--again", help="Repeat requests for which an older version saved an error as the answer.")
]


def read(config: Path, output: Path | None, *needs: str) -> SynthConfig:
    """Read a configuration, and check before the work begins that a command's packages are installed.

    Args:
        config: the file.
        output: a folder for results that replaces the one in the file.
        *needs: packages that the command needs, besides PyYAML.

    Raises:
        InputError: the configuration is invalid, or a package is missing.
    """
    need("synth", "synth", "yaml", *needs)
    settings = read_config(config, output=output)
    check_folder(f"output {settings.output}" if output is None else f"-o {output}", settings.output)
    return settings


def read_for_stages(config: Path, output: Path | None, *needs: str) -> SynthConfig:
    """Like `read`, for a command that runs stages and filters. It checks the packages of all of them."""
    settings = read(config, output, "scipy", "datasketch", "sklearn", *needs)
    if settings.filters.hard is not None:
        need("synth with filters.hard", "synth", *hardness.NEEDS)
    return settings


def check_models(models: Iterable[ChatModel], table: Prices, max_cost: float | None) -> None:
    """Check before the first request that models can be asked and that a limit on cost can be enforced.

    Args:
        models: the models.
        table: the prices.
        max_cost: the limit, or None.

    Raises:
        InputError: an API key or a price is missing.
    """
    for model in models:
        check_key(model.server, model.model)
        if max_cost is not None and table.of(model.model) is None:
            raise InputError(f"--max-cost: {model.model} has no price; add one with --prices")


def note_judge(settings: SynthConfig) -> None:
    """Warn, before anything is asked, if several judgments of a pair would be one judgment, several times."""
    if settings.samples > 1 and settings.judge.greedy:
        console.log.warning(
            "the judge answers greedily (%s), so its %d judgments of a pair are one judgment, paid %d times, and their "
            "agreement means nothing; set samples: 1, or a temperature",
            *(settings.judge.greedy, settings.samples, settings.samples),
        )


def note_other_servers(journal: Journal, models: Iterable[ChatModel]) -> None:
    """Warn if all of a model's answers in a journal are from other servers, as they will be asked for again."""
    for model in models:
        counts = journal.servers(model.model)
        if counts and not {"", model.address} & set(counts):
            other = max(counts, key=lambda server: counts[server])
            console.log.warning(
                "%s: %d answers of %s come from %s and are not used for %s; if it is the same model, set identity: %s",
                *(journal.path, counts[other], model.model, other, model.address, other),
            )


def journal_of(settings: SynthConfig) -> Journal:
    """The journal of a synthesis."""
    return Journal(settings.output / "answers.sqlite")


def finish(settings: SynthConfig, result: Synthesis) -> None:
    """Write the data set of a complete synthesis, and say what is in it.

    Args:
        settings: its configuration.
        result: the complete synthesis.

    Raises:
        InputError: no pair is left, or a file cannot be written.
    """
    if not result.pairs:
        raise InputError("no pair is left after the filters; see what they dropped with: limrank synth report")
    write_outputs(settings.output / FOLDER, result, settings)
    repeated = sum(len({judgment.reasoning for judgment in pair.judgments}) == 1 for pair in result.pairs)
    if settings.samples > 1 and repeated > len(result.pairs) / 2:
        console.log.warning(
            "%d of %d pairs have judgments with the same words, which count as one judgment; raise the temperature",
            *(repeated, len(result.pairs)),
        )
    queries = len({pair.query.id for pair in result.pairs})
    relevant = sum(pair.label for pair in result.pairs)
    console.log.info(
        "%d pairs for %d queries, %d relevant, in %s (%s, %s)",
        *(len(result.pairs), queries, relevant, settings.output / FOLDER, ALPACA, PAIRS),
    )
