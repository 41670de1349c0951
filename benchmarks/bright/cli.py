"""The command ``limrank bench bright``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import check_folder
from limrank_ir.models import DEFAULT, MODELS

from .versions import Expansion, VersionName


def bright(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")
    ] = None,
    tasks: Annotated[
        str, typer.Option(metavar="NAMES", help="Tasks, with commas between them: biology,pony.  [default: all]")
    ] = "",
    version: Annotated[
        VersionName,
        typer.Option(metavar="NAME", help="v1 (as Rank1 and LimRank), v1.1 (as mteb today), or pro (BRIGHT-Pro)."),
    ] = "v1",
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A local copy of the data set.  [default: the hub, pinned revision]"),
    ] = None,
    first_stage: Annotated[
        str,
        typer.Option(
            metavar="RUNS",
            help="bm25 (the official one), or runs, TREC or JSON: a folder with one for each task, a pattern with "
            "{task} in it, or one file.",
        ),
    ] = "bm25",
    expanded_queries: Annotated[
        Expansion | None,
        typer.Option(
            metavar="NAME",
            help="BM25 reads chains of thought of gpt4, claude-3-opus, Gemini-1.0, llama3-70b, or grit. The reranker "
            "reads the original query.",
        ),
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option("-k", "--k", min=1, metavar="N", help="Documents to rerank. Repeatable.  [default: 10 100]"),
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Long documents instead of passages (8 tasks).")] = False,
    no_task_prompts: Annotated[
        bool, typer.Option("--no-task-prompts", help="Do not put the query into its task's prompt.")
    ] = False,
    model: o.ModelName = DEFAULT,
    adapter: o.Adapter = None,
    fuse_weight: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, metavar="X", help="The model's weight in the fusion.  [default: its own]"),
    ] = None,
    no_fuse: Annotated[bool, typer.Option("--no-fuse", help="Do not measure the fusion with the first stage.")] = False,
    prompt_format: o.PromptFormatName = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    max_length: o.MaxLength = None,
    check: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="RUNS QRELS",
            help="Only score these runs against these judgments, without documents or a model, and compare with "
            "published values.",
        ),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """BRIGHT by the official protocol: nDCG@10 of a reranker on each task, alone and fused, with bounds.

    The first stage's excluded ids are removed before the cutoff. Verdicts are kept in the folder: run the same command
    again to resume. With --model bm25, only the first stage is measured.

    For example:

        limrank bench bright --model limrank-7b --first-stage runs -o bright

        limrank bench bright --check runs qrels
    """
    chosen = tuple(tasks.replace(",", " ").split())
    if check is not None:
        _check(*check, chosen)
        return
    if output is None:
        raise InputError("bench bright: no --output; name a folder for the results, or give --check RUNS QRELS")
    from limrank_ir.models import ModelOptions

    from .results import main_table
    from .run import run_bright
    from .settings import DEPTHS, BrightSettings

    check_folder(f"-o {output}", output)
    if adapter is not None and model not in MODELS and not Path(model).is_dir():
        raise InputError(f"--adapter {adapter}: --model {model} must be a listed model or a folder; download it first")
    settings = BrightSettings(
        version=version,
        tasks=chosen,
        data=data,
        first_stage=first_stage,
        expansion=expanded_queries,
        depths=tuple(k or DEPTHS),
        long=long,
        task_prompts=not no_task_prompts,
        fuse=not no_fuse,
        fuse_weight=fuse_weight,
        models=ModelOptions(
            prompt_format=prompt_format,
            think=think,
            budget=budget,
            engine=engine,
            engine_options=o.engine_options(engine_option),
            device=device,
            dtype=dtype,
            max_length=max_length,
        ),
    )
    report = run_bright(model if adapter is None else f"{model}+{adapter}", output, settings)
    console.table(*main_table(report))
    console.log.info("wrote results.md, results.json, card.json, runs/, and official/ to %s", output)


def _check(runs: Path, qrels: Path, tasks: tuple[str, ...]) -> None:
    from .check import check, compare, table

    found = check(runs, qrels, tasks)
    console.table(*table(found))
    compare(found)
    public = sum(one.public for one in found)
    if public:
        console.log.info("%d of %d tasks have published values, and all of these agree", public, len(found))
    else:
        console.log.info("these runs have no published values to compare with")
