"""The command ``limrank bench ablate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import EngineError, InputError
from limrank_ir.formats.output import check_folder


def ablate(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.yaml", help="The training, the points that differ from it, and the seeds.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the training data, instead of the file's data.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, and list the points and their steps.")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Ablations: train and measure variants, with error bars over seeds.

    Each point is trained with each seed, in a process with a log of its own, and measured as by `bench suite`. A
    training that fails is reported, and the others go on. Finished points are kept: run the same command again to
    resume.

    For example:

        limrank bench ablate benchmarks/ablate/configs/smol.yaml -o runs/ablation
    """
    from limrank_ir.extras import need

    need("bench ablate", "train", "yaml")
    from .config import read_config
    from .run import check_all, run_ablation

    found = read_config(config, data=data)
    if dry_run:
        from .report import plan_table

        jobs, _ = check_all(found)
        console.table(*plan_table(found, jobs), left=2)
        return
    if output is None:
        raise InputError("bench ablate needs -o FOLDER for its results, or --dry-run")
    check_folder(f"-o {output}", output)
    failures = run_ablation(found, output)
    console.log.info("wrote results.md, results.json, card.json, and plot.png to %s", output)
    if failures:
        raise EngineError(f"{len(failures)} failed, and are missing from the results: {'; '.join(failures)}")
