"""The command line's options, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from limrank_ir.cli import console
from limrank_ir.models import Think

RunFile = Annotated[
    Path, typer.Option("--run", metavar="FILE", help="TREC run of the first stage: qid Q0 docno rank score tag.")
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
    typer.Option("--index", metavar="FOLDER", help="Passages: a Lucene index of Pyserini's, with its texts."),
]
ExcludeFile = Annotated[
    Path | None,
    typer.Option(
        "--exclude", metavar="FILE", help="Documents to leave out: lines of 'qid docno' or 'qid 0 docno grade'."
    ),
]
OutputFile = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Where the run goes; - is stdout, .gz is compressed.")
]
Depth = Annotated[int, typer.Option("-k", "--k", min=1, metavar="N", help="How many documents of each query.")]
Tag = Annotated[str, typer.Option("--tag", metavar="NAME", help="Name of the system, the run's last column.")]
ModelName = Annotated[
    str, typer.Option("--model", "-m", metavar="NAME", help="A name of `limrank models`, a folder or a hub id.")
]
Adapter = Annotated[str | None, typer.Option(metavar="NAME", help="PEFT adapter on top of it: folder or hub id.")]
PromptFormatName = Annotated[
    Literal["rank1", "qwen3"] | None, typer.Option(help="The prompt that a folder or hub id was trained on.")
]
ThinkMode = Annotated[
    Think | None, typer.Option(help="Whether the model reasons before its verdict.  [default: the model's own]")
]
Budget = Annotated[int, typer.Option(min=1, metavar="N", help="The most tokens of a thought.")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, ...  [default: a GPU if any]")]
DtypeName = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(metavar="NAME", help="float32, bfloat16 or float16.  [default: float32 on a CPU, bfloat16 on a GPU]"),
]
MaxLength = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="The most tokens of a prompt; longer passages are cut.")
]
Fuse = Annotated[
    bool, typer.Option("--fuse", help="Let the run's own scores count, too, with the model's weight for its verdicts.")
]
FuseWeight = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, metavar="X", help="--fuse with this weight: 0 the run's order, 1 the model's."),
]
AllowMismatch = Annotated[
    bool,
    typer.Option(
        "--allow-mismatch",
        help="Use an adapter that names another base, and weights with tensors that have no place.",
    ),
]
Window = Annotated[
    int | None,
    typer.Option(min=1, metavar="WORDS", help="Split documents into windows of so many words; the best one counts."),
]
Stride = Annotated[
    int | None,
    typer.Option(min=1, metavar="WORDS", help="From one window's beginning to the next one's.  [default: half]"),
]
BatchSize = Annotated[int | None, typer.Option(min=1, metavar="N", help="The most passages in a batch.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=console.quiet, help="No notes and no progress, only errors.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
