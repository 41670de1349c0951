"""``limrank eval``."""

from __future__ import annotations

import math
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
        bool, typer.Option("--significance", help="Compare with the first run: difference, interval, p-value.")
    ] = False,
    test: o.TestName = "auto",
    correction: o.CorrectionName = "holm",
    equivalent: Annotated[
        float | None,
        typer.Option(
            metavar="MARGIN", help="With --significance: test whether the difference is smaller than this (TOST)."
        ),
    ] = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Evaluate runs against relevance judgments.

    A judged query that is missing from a run counts as 0. Documents with a negative grade are removed from the ranking.
    Ties are ordered as in trec_eval.

    --significance compares over the queries: mean difference with 95% confidence interval, effect size d_z, queries
    won, tied, and lost, and a corrected p-value.

    For example:

        limrank eval --qrels qrels.txt bm25.txt reranked.txt --significance
    """
    from limrank_ir.ranking import evaluate as scoring
    from limrank_ir.ranking.statistics import describe

    asked = {"--test": test != "auto", "--correction": correction != "holm", "--equivalent": equivalent is not None}
    for option in (name for name, given in asked.items() if given and not significance):
        raise InputError(f"{option} is for comparing runs; give --significance, too")
    if significance and len(runs) < 2:
        raise InputError("--significance compares runs with the first one; give at least two runs")
    if equivalent is not None and not 0 < equivalent < math.inf:
        raise InputError(f"--equivalent {equivalent:g}: give a difference above 0, such as 0.01")
    found = scoring.evaluate(qrels, runs, scoring.parse_measures(measures))
    comparisons = []
    if significance:
        comparisons = scoring.compare_runs(found, test=test, correction=correction, margin=equivalent)
        console.log.info("%s", describe([c for by_measure in comparisons for c in by_measure.values()]))
    if as_json:
        write_json(scoring.as_json(found, comparisons, per_query=per_query))
        return
    if per_query:
        console.table(*scoring.query_table(found), left=2)
        write_stdout("\n")
    console.table(*scoring.mean_table(found))
    if comparisons:
        write_stdout("\n")
        console.table(*scoring.comparison_table(found, comparisons), left=2)
