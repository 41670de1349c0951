"""The command ``limrank bench ir-metadata``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError


def ir_metadata(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder with card.json and runs.")],
    measures: Annotated[
        str, typer.Option("--measures", "-m", metavar="NAMES", help="The measures that you report.")
    ] = "nDCG@10",
    quiet: o.Quiet = False,
) -> None:
    """Put the run card into the heads of a benchmark's runs, in ir_metadata's form, as some tracks want it.

    trec_eval refuses runs with a head; limrank and repro_eval read them. The tags stay. A second call replaces the
    heads.

    For example:

        limrank bench ir-metadata results/bright
    """
    from ..card import CARD
    from ..folder import read_json
    from .ir_metadata import write_heads

    if not (folder / CARD).is_file():
        raise InputError(f"{folder}: no {CARD} in it; give a folder that limrank bench wrote")
    runs = sorted(path for path in (folder / "runs").rglob("*") if path.name.endswith((".run", ".run.gz")))
    if not runs:
        raise InputError(f"{folder / 'runs'}: no runs (*.run or *.run.gz); give a folder that limrank bench wrote")
    card = read_json(folder / CARD)
    for run in runs:  # a collection's runs are in a folder of its name
        collection = None if run.parent == folder / "runs" else run.parent.name
        write_heads([run], card, collection=collection, measures=measures.replace(",", " ").split())
    console.log.info("wrote the heads of %d runs in %s", len(runs), folder / "runs")
