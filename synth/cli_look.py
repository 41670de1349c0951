"""The commands that show a complete synthesis: ``limrank synth report`` and ``audit``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from limrank_ir import __version__
from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.llm.journal import Journal

from .ask import Offline
from .cli_shared import ConfigFile, Output, PriceFile, journal_of, read_for_stages
from .config import SynthConfig
from .pipeline import Synthesis, synthesize
from .prices import read_prices
from .templates import NAMES, read_prompts

AUDIT = "audit.json"


def report(
    config: ConfigFile,
    output: Output = None,
    audit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Marks from the audit page.  [default: audit.json, if it exists]"),
    ] = None,
    prices: PriceFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Write report.html: domains, difficulties, lengths, labels, losses, leaks, cost, and the audit.

    For example:

        limrank synth report synth.yaml
    """
    from .audit import read_audit
    from .report import report as figures
    from .report_page import report_page

    settings, table = read_for_stages(config, output), read_prices(prices)
    result, journal = _answered(settings, config)
    place = audit or settings.output / AUDIT
    marks = read_audit(place, result.audited) if audit is not None or place.exists() else None
    page = report_page(figures(result, settings, journal, table, marks), settings.output.name, _facts(settings))
    with replacing(settings.output / "report.html") as file:
        file.write(page)
    console.log.info("report: %s", settings.output / "report.html")


def audit(
    config: ConfigFile,
    count: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Number of samples.")] = 100,
    output: Output = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the samples.")] = 0,
    show_labels: Annotated[
        bool, typer.Option("--show-labels", help="Show labels and reasoning from the start.")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Write audit.html, where a person marks samples. The report shows the marks that it saves, audit.json.

    The person judges each passage before seeing its label and reasoning.

    For example:

        limrank synth audit synth.yaml -n 100
    """
    from .audit import audit_page, samples

    settings = read_for_stages(config, output)
    result, _ = _answered(settings, config)
    drawn = samples(result.pairs, count, seed=seed)
    with replacing(settings.output / "audit.html") as file:
        file.write(audit_page(drawn, settings.output.name, show_labels=show_labels))
    console.log.info("%d samples in %s; open it in a browser", len(drawn), settings.output / "audit.html")


def _answered(settings: SynthConfig, config: Path) -> tuple[Synthesis, Journal]:
    """Rebuild a complete synthesis from its journal."""
    place = settings.output / "answers.sqlite"
    if not place.exists():
        raise InputError(f"{place}: no such file; first run: limrank synth run {config}")
    journal = journal_of(settings)
    result = asyncio.run(synthesize(settings, Offline(journal)))
    if result.waiting is not None:
        raise InputError(
            f"{place}: answers for the {result.waiting} are missing; continue with: limrank synth run {config}"
        )
    return result, journal


def _facts(settings: SynthConfig) -> list[tuple[str, str]]:
    prompts = read_prompts(settings.prompts)
    return [
        ("couples", f"{settings.couples:,}"),
        ("generator", settings.generator.model),
        ("judge", f"{settings.judge.model}, judgments per pair: {settings.samples}"),
        ("seed", str(settings.seed)),
        *((f"prompt {name}", prompts.version(name)) for name in NAMES),
        ("limrank-ir", __version__),
    ]
