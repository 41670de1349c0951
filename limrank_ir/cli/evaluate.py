"""``limrank eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import write_json, write_stdout


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="TREC runs; the first is the baseline.")],
    qrels: Annotated[
        Path, typer.Option("--qrels", metavar="FILE", help="Judgments: qid 0 docno grade, or a BEIR folder.")
    ],
    measures: Annotated[
        str, typer.Option("--measures", "-m", metavar="NAMES", help="Measures as ir_measures or trec_eval names them.")
    ] = "nDCG@10 RR@10 R@100",
    per_query: Annotated[bool, typer.Option("--per-query", help="Also print the values of each query.")] = False,
    significance: Annotated[
        bool, typer.Option("--significance", help="p-values against the first run: paired t-tests, Holm correction.")
    ] = False,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Evaluate runs against relevance judgments.

    A judged query that is missing from a run counts as 0. Documents with a negative grade are removed from the ranking.
    Ties are ordered as in trec_eval.

    For example:

        limrank eval --qrels qrels.txt bm25.txt reranked.txt --significance
    """
    from limrank_ir.ranking import evaluate as scoring

    if significance and len(runs) < 2:
        raise InputError("--significance compares runs with the first one; give at least two runs")
    found = scoring.evaluate(qrels, runs, scoring.parse_measures(measures))
    p_values = scoring.significance(found) if significance else []
    if as_json:
        write_json(scoring.as_json(found, p_values, per_query=per_query))
        return
    if per_query:
        console.table(*scoring.query_table(found), left=2)
        write_stdout("\n")
    console.table(*scoring.mean_table(found, p_values))
