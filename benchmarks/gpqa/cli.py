"""The command ``limrank bench gpqa``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import check_folder
from limrank_ir.models import DEFAULT


def gpqa(
    questions: Annotated[
        Path, typer.Option("--questions", metavar="FILE", help="GPQA's CSV file, or JSONL with the same names.")
    ],
    pool: Annotated[
        Path, typer.Option("--pool", metavar="PATH", help="Passages to search: a corpus, or a folder of JSONL files.")
    ],
    reader: Annotated[
        str, typer.Option("--reader", metavar="URL", help="OpenAI-compatible server: http://localhost:8000/v1.")
    ],
    reader_model: Annotated[str, typer.Option("--reader-model", metavar="NAME", help="The reader's name there.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")],
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "--system",
            "-m",
            metavar="NAME",
            help="A model, MODEL+ADAPTER, dense, or cross-encoder:FOLDER. Repeat it for several.  "
            f"[default: {DEFAULT}]",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, metavar="N", help="Passages that the reader gets.")] = 10,
    depth: Annotated[int, typer.Option(min=1, metavar="N", help="Passages that BM25 finds, to be reranked.")] = 100,
    query: Annotated[
        Literal["full", "question"],
        typer.Option(metavar="WHAT", help="What BM25 and rerankers read: full (with the choices), or question."),
    ] = "full",
    temperature: Annotated[float, typer.Option(min=0.0, metavar="X", help="Of the reader.")] = 0.0,
    samples: Annotated[
        int, typer.Option(min=1, metavar="N", help="Answers to each question; several need a temperature.")
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the order of the choices and of the samples.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Longest answer of the reader.")] = 8192,
    reader_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Another field of the request, such as top_p=0.95. Repeatable."),
    ] = None,
    key_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable with the reader's API key.")
    ] = "OPENAI_API_KEY",
    judge: Annotated[
        str | None, typer.Option(metavar="URL", help="Server of a judge, which replaces the match of the box.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(metavar="NAME", help="The judge's name there.")] = None,
    judge_key_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable with the judge's API key.")
    ] = "OPENAI_API_KEY",
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Requests at the same time.")] = 8,
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
    r"""GPQA: what reranked passages are worth to a reader that answers hard questions.

    BM25 finds passages in your pool, each reranker orders them, and the reader answers with the best k: beside no
    passages (closed book) and BM25's own order. The last \boxed{} of an answer is its choice; without one it is wrong.

    The questions are gated: no text of them is saved, logged, or shown. Answers and verdicts are kept as letters and
    numbers: run the same command again to resume.

    For example:

        limrank bench gpqa --questions gpqa_diamond.csv --pool massiveds.jsonl \
            --reader http://localhost:8000/v1 --reader-model Qwen/Qwen2.5-7B-Instruct \
            --model limrank-7b -k 10 -o results/gpqa
    """
    from limrank_ir.llm.chat import Server
    from limrank_ir.models import ModelOptions

    from .asking import JUDGE_TOKENS, Model
    from .measure import GpqaSettings, measure_gpqa
    from .report import accuracies

    check_folder(f"-o {output}", output)
    if (judge is None) != (judge_model is None):
        raise InputError("--judge and --judge-model belong together; give both or neither")
    for option, url in (("--reader", reader), ("--judge", judge)):
        if url is not None and not url.startswith(("http://", "https://")):
            raise InputError(f"{option} {url}: not a URL; give one such as http://localhost:8000/v1")
    parameters = {"temperature": temperature, "max_tokens": max_tokens, **(o.engine_options(reader_option) or {})}
    if "max_completion_tokens" in parameters:  # the newer name, which replaces the other
        del parameters["max_tokens"]
    if parameters["temperature"]:
        parameters.setdefault("seed", seed)
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
    figures, _ = measure_gpqa(
        questions,
        pool,
        output,
        Model(Server(reader, key_env, concurrency), reader_model, parameters),
        None
        if judge is None or judge_model is None
        else Model(
            Server(judge, judge_key_env, concurrency), judge_model, {"temperature": 0, "max_tokens": JUDGE_TOKENS}
        ),
        system or [DEFAULT],
        GpqaSettings(k, depth, query == "full", samples, seed, models),
    )
    console.table(*accuracies(figures), left=1)
    console.log.info("wrote results.md, results.json, card.json, and runs to %s", output)
