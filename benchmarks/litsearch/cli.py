"""The command ``limrank bench litsearch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import check_folder
from limrank_ir.models import DEFAULT


def litsearch(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="A copy of princeton-nlp/LitSearch: query, corpus_clean.  [default: the hub]"
        ),
    ] = None,
    first_stage: Annotated[
        str, typer.Option(metavar="RUN", help="bm25 (title and abstract), or a run with mteb's ids: TREC, or JSON.")
    ] = "bm25",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model, MODEL+ADAPTER, dense, or cross-encoder:FOLDER. Repeat it for several.  "
            f"[default: {DEFAULT}]",
        ),
    ] = None,
    k: o.Depth = 100,
    mteb: Annotated[
        bool, typer.Option("--mteb", help="Write mteb's own result files, too, from the same verdicts.")
    ] = False,
    max_length: o.MaxLength = None,
    prompt_format: o.PromptFormatName = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    quiet: o.Quiet = False,
) -> None:
    """LitSearch: Recall@5 of specific and Recall@20 of broad questions, and mteb's pooled recall.

    The first stage, its candidates reranked, both fused, and the ceiling. Verdicts are kept in the folder: run the
    same command again to resume.

    For example:

        limrank bench litsearch --model limrank-7b -k 100 -o results/litsearch
    """
    from limrank_ir.models import ModelOptions

    from .measure import LitSearchSettings, run_litsearch
    from .report import table

    check_folder(f"-o {output}", output)
    models = ModelOptions(
        max_length=max_length,
        prompt_format=prompt_format,
        think=think,
        budget=budget,
        engine=engine,
        engine_options=o.engine_options(engine_option),
        device=device,
        dtype=dtype,
    )
    results = run_litsearch(model or [DEFAULT], output, LitSearchSettings(data, first_stage, k, mteb, models))
    console.table(*table(results))
    console.log.info("wrote results.md, results.json, card.json, and runs to %s", output)
