"""Measure, print, and write the results."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from limrank_ir.cli import console
from limrank_ir.extras import need
from limrank_ir.formats.files import replacing

from ..card import run_card, write_card
from ..energy import measured
from ..environment import command_line
from ..folder import claim, write_json
from .measure import SpeedSettings, measure
from .report import facts, rates, ratios, report


def run_speed(model: str, settings: SpeedSettings, output: Path | None = None) -> dict[str, Any]:
    """Measure a model's speed, and write results.json, results.md, plot.png, and card.json.

    Args:
        model: its name.
        settings: what to measure.
        output: folder for the results; None: nothing is written.

    Returns:
        What `limrank_ir.benchmarks.speed.measure.measure` returned.

    Raises:
        InputError: as for `measure`, or the folder has results of other settings.
    """
    options = dataclasses.asdict(settings)
    if output is not None:
        need(f"-o {output}", "bench", "matplotlib")
        claim(output, {"--model": model, **{f"--{name.replace('_', '-')}": value for name, value in options.items()}})
    try:
        with measured() as usage:
            figures = measure(model, settings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; speed is measured in one run, so nothing is saved") from None
    if output is not None:
        from .plot import png

        write_json(output / "results.json", figures)
        with replacing(output / "results.md") as file:
            file.write(report(figures, command_line()))
        plot = output / "plot.png"
        plot.with_suffix(".tmp").write_bytes(png(figures))
        plot.with_suffix(".tmp").replace(plot)
        data = {"passages of limrank_ir.demo": f"sha256:{figures['texts']}"}
        card = run_card(settings={"model": model, **options}, data=data, device=settings.device, usage=usage)
        write_card(output, card)
    return figures


def show(figures: dict[str, Any]) -> None:
    """Print the figures on stdout.

    Args:
        figures: what `limrank_ir.benchmarks.speed.measure.measure` returned.
    """
    console.table(*rates(figures))
    console.out.print()
    console.table(*ratios(figures, "of_limit"))
    console.out.print()
    for line in facts(figures):
        console.out.print(line, soft_wrap=True, markup=False)
