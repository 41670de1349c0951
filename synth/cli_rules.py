"""``limrank synth rules``: training rows by rule, from rows that others have published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.extras import need
from limrank_ir.formats.output import check_folder


def rules(
    files: Annotated[
        list[Path], typer.Argument(metavar="ROWS...", help="Files of rows with query, pos, neg, license.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many rows of each rule to write at most.")] = 1500,
    seed: Annotated[int, typer.Option(help="What chooses the rows and the changes.")] = 12345,
    quiet: o.Quiet = False,
) -> None:
    """Make training rows from rows of others: minimal pairs, entities, exclusions, and excerpts. No model is asked.

    A minimal pair is a relevant passage with one fact changed that the query states. An entity row has passages that
    are like the relevant one but lack the query's rare words. An exclusion says what the query does not want. An
    excerpt is a part of a passage, and asks for the rest of it. Texts change only by rule, so each row has the license
    of its source.

    For example:

        limrank synth rules rows/*/train.jsonl.gz -o rows/by-rule
    """
    need("synth rules", "synth", "sklearn")
    check_folder(f"-o {output}", output)
    from .rules.make import make

    made = make(files, output, count=count, seed=seed)
    for name, rows in made.items():
        kinds = sorted({row["neg_kind"] for row in rows})
        counts = ", ".join(f"{kind} {sum(row['neg_kind'] == kind for row in rows):,}" for kind in kinds)
        console.log.info("%s: %s rows (%s)", name, f"{len(rows):,}", counts or "no fact or name fits")
