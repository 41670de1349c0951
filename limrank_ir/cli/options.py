"""Options that several commands share, each defined once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from limrank_ir import models
from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.models import Precision, Think

RunFile = Annotated[
    Path, typer.Option("--run", metavar="FILE", help="First-stage TREC run: qid Q0 docno rank score tag.")
]
TopicsFile = Annotated[
    Path,
    typer.Option("--topics", metavar="FILE", help="Queries: TSV (qid, query), JSONL, TREC topics, or a BEIR folder."),
]
CorpusFile = Annotated[
    Path, typer.Option("--corpus", metavar="FILE", help="Passages: TSV (docno, text), JSONL, or a BEIR folder.")
]
OptionalCorpusFile = Annotated[
    Path | None, typer.Option("--corpus", metavar="FILE", help="Passages: TSV (docno, text), JSONL, or a BEIR folder.")
]
IndexFolder = Annotated[
    Path | None,
    typer.Option("--index", metavar="FOLDER", help="Passages: a Pyserini (Lucene) index with stored text."),
]
ExcludeFile = Annotated[
    Path | None,
    typer.Option("--exclude", metavar="FILE", help="Documents to leave out: lines 'qid docno' or 'qid 0 docno grade'."),
]
OutputFile = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Run to write; - for stdout, .gz to compress it.")
]
Depth = Annotated[int, typer.Option("-k", "--k", min=1, metavar="N", help="Documents per query.")]
Tag = Annotated[str, typer.Option("--tag", metavar="NAME", help="Run name, the last column of the run.")]
ModelName = Annotated[
    str, typer.Option("--model", "-m", metavar="NAME", help="A name from `limrank models`, a folder, or a hub id.")
]
Adapter = Annotated[str | None, typer.Option(metavar="NAME", help="PEFT adapter for the model: a folder or hub id.")]
PromptFormatName = Annotated[
    models.PromptFormatName | None,
    typer.Option(metavar="NAME", help="How a folder or hub id is read: rank1, qwen3, cross-encoder, ..."),
]
ThinkMode = Annotated[
    Think | None,
    typer.Option(
        metavar="MODE",
        help="Reason before the verdict: never, always, or auto (where it matters).  [default: depends on the model]",
    ),
]
Budget = Annotated[int, typer.Option(min=1, metavar="N", help="Maximum reasoning tokens per passage.")]
ThinkTop = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="With --think auto: the best passages that count.  [default: 10]")
]
ThinkMargin = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="X",
        help="With --think auto: think where scores are closer, in standard deviations.  [default: 0.25]",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="local, vllm, or the URL of a server (several: A,B).  [default: local]"),
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="An option of that engine, such as batch_tokens=512. Repeatable."),
]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, ...  [default: a GPU, if any]")]
DtypeName = Annotated[
    Precision | None,
    typer.Option(
        metavar="NAME",
        help="float32, bfloat16, float16, int8, or auto (fast).  [default: float32 on a CPU, bfloat16 on a GPU]",
    ),
]
MaxLength = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Maximum prompt tokens; longer passages are cut.")
]
Fuse = Annotated[
    bool, typer.Option("--fuse", help="Combine the verdicts with the run's scores, using the model's default weight.")
]
FuseWeight = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="X",
        help="Like --fuse, with this weight: 0 keeps the run's order, 1 uses only the verdicts.",
    ),
]
FuseWith = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RUN",
        help="Also fuse this run's scores, or minilm: the passages are scored by MiniLM. Repeatable.",
    ),
]
FuseWeights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W,...", help="Weights of the run, of each --fuse-with, and of the model.  [default: the model's]"
    ),
]
AllowMismatch = Annotated[
    bool,
    typer.Option(
        "--allow-mismatch",
        help="Accept an adapter for another base model, and weights with unused tensors.",
    ),
]
RankerName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Ask in another way: setwise, listwise, setwise:top=5, ... (see `limrank rankers`).  [default: verdicts]",
    ),
]
SetFormats = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="With --ranker: the format of its questions, such as rank-zephyr. Repeatable."),
]
Window = Annotated[
    int | None,
    typer.Option(min=1, metavar="WORDS", help="Split documents into windows of this many words; the best one counts."),
]
Stride = Annotated[
    int | None,
    typer.Option(min=1, metavar="WORDS", help="Words from one window's start to the next.  [default: half a window]"),
]
BatchSize = Annotated[int | None, typer.Option(min=1, metavar="N", help="Maximum passages per batch.")]
TestName = Annotated[
    Literal["auto", "randomization", "wilcoxon", "t", "bootstrap"],
    typer.Option(metavar="NAME", help="randomization, wilcoxon, t, bootstrap, or auto (by the number of queries)."),
]
CorrectionName = Annotated[
    Literal["holm", "bh", "none"],
    typer.Option(metavar="NAME", help="Of the p-values: holm, bh (Benjamini-Hochberg), or none."),
]


def engine_options(given: list[str] | None) -> dict[str, Any] | None:
    """The options of an engine from the command line.

    Args:
        given: texts such as ``"tensor_parallel_size=4"``. A value is read as JSON where it is JSON, else as text.

    Returns:
        The options by name, or None if there are none.

    Raises:
        InputError: a text has no name or no value.
    """
    options = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(f"--engine-option {text}: give NAME=VALUE, such as tensor_parallel_size=4")
        try:
            options[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            options[name.replace("-", "_")] = value
    return options or None


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=console.quiet, help="Print only errors, no notes or progress.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
