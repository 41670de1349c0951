"""The command ``limrank bench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.formats.output import check_folder, write_stdout
from limrank_ir.formats.output import write_json as print_json


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="A", help="A TREC run: the original.")],
    run_b: Annotated[Path, typer.Argument(metavar="B", help="Another one: its reproduction.")],
    qrels: Annotated[
        Path, typer.Option("--qrels", metavar="FILE", help="Judgments: qid 0 docno grade, or a BEIR folder.")
    ],
    baseline_a: Annotated[
        Path | None, typer.Option(metavar="RUN", help="What A improves on; with --baseline-b, for the effects.")
    ] = None,
    baseline_b: Annotated[Path | None, typer.Option(metavar="RUN", help="What B improves on.")] = None,
    measures: Annotated[
        str, typer.Option("--measures", "-m", metavar="NAMES", help="Measures as ir_measures or trec_eval names them.")
    ] = "nDCG@10 RR@10 AP",
    per_query: Annotated[int, typer.Option(min=0, metavar="N", help="Show the N queries that differ most.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write everything, unrounded.")
    ] = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Compare two runs of the same topics, as a reproduction is compared with the original.

    Orders: Kendall's tau union and rank-biased overlap. Effectiveness: RMSE, difference, and paired t-test. With the
    baselines, also the effects: effect ratio (ER) and delta relative improvement (DRI).

    For example:

        limrank bench compare theirs.run ours.run --qrels qrels.txt
    """
    from .compare import compare_runs
    from .tables import effectiveness, orders, queries

    if (baseline_a is None) != (baseline_b is None):
        missing = "--baseline-b" if baseline_b is None else "--baseline-a"
        raise InputError(f"effects need both baselines; give {missing}, too")
    if output is not None:
        check_folder(f"-o {output}", output)
    baselines = None if baseline_a is None or baseline_b is None else (baseline_a, baseline_b)
    found = compare_runs(run_a, run_b, qrels, baselines=baselines, measures=measures)
    if output is not None:
        from ..card import content_hashes, run_card, write_card
        from ..folder import claim, write_json
        from .tables import page

        files = [Path(run) for run in found.runs]
        claim(output, {"A": str(run_a), "B": str(run_b)})
        card = run_card(
            settings={"--measures": measures, "baselines": found.runs[2:]}, data=content_hashes([*files, qrels])
        )
        write_json(output / "results.json", found.as_json())
        with replacing(output / "results.md") as file:
            file.write(page(found, card["environment"]))
        write_card(output, card)
        console.log.info("wrote results.md, results.json, and card.json to %s", output)
    if as_json:
        print_json(found.as_json())
        return
    console.table(*orders(found))
    write_stdout("\n")
    console.table(*effectiveness(found))
    if per_query:
        write_stdout("\n")
        console.table(*queries(found, per_query))
