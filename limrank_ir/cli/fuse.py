"""``limrank fuse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import STDOUT, check_places, output_name, save_run, write_json


def fuse(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="TREC runs of the same topics, at least two.")],
    output: o.OutputFile,
    weights: Annotated[
        str | None, typer.Option(metavar="W,W,...", help="Weight of each run, such as 1,2,1.  [default: equal]")
    ] = None,
    method: Annotated[
        Literal["z", "rrf"], typer.Option(help="Sum of z-scores, or of reciprocal ranks: 1 / (60 + rank).")
    ] = "z",
    k: Annotated[
        int | None, typer.Option("-k", "--k", min=1, metavar="N", help="Documents per query.  [default: all]")
    ] = None,
    tag: o.Tag = "fused",
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Fuse TREC runs into one: a weighted sum of each query's z-scores, or of reciprocal ranks.

    A document that a run lacks counts as that run's lowest score of the query (with rrf, it gets nothing from it); a
    run that lacks the query has no say in it. No text is read and no model runs: fuse what you already have.

    For example:

        limrank fuse bm25.txt minilm.txt reranked.txt -o fused.txt
    """
    from limrank_ir.cli.fusing import read_scores, read_weights
    from limrank_ir.formats.trec import check_writable
    from limrank_ir.ranking.fusion import fuse_runs, log_coverage, weights_text

    check_writable("--tag", "tag", tag)
    names = [str(run) for run in runs]
    if len(names) < 2:
        raise InputError(f"{names[0]}: one run alone is not fused with anything; give at least two")
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(f"{twice[0]}: given twice; to count it more, use --weights")
    shares = None if weights is None else dict(zip(names, read_weights("--weights", weights, names), strict=True))
    check_places({"-o": output, "--json": STDOUT if as_json else None}, dict(zip(names, runs, strict=True)))
    found = fuse_runs({name: read_scores(name) for name in names}, shares, method=method, k=k)
    for name, coverage in found.coverage.items():
        log_coverage(name, coverage, method=method)
    save_run(output, found.run, tag)
    count = sum(map(len, found.run.values()))
    console.log.info(
        f"{count} documents of {len(found.run)} queries fused by {method} ({weights_text(found.weights)}), "
        f"written to {output_name(output)}"
    )
    if as_json:
        summary = {"run": str(output), "method": method, "weights": found.weights, "queries": len(found.run)}
        missing = {name: coverage.missing for name, coverage in found.coverage.items()}
        absent = {name: list(coverage.absent) for name, coverage in found.coverage.items()}
        write_json({**summary, "documents": count, "missing": missing, "without_query": absent})
