"""The commands ``limrank train``, ``export``, and ``push``; imported only when one of them is used."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.cli.shell import status_of
from limrank_ir.errors import InputError, LimRankError
from limrank_ir.extras import need
from limrank_ir.formats.output import check_folder, write_stdout
from limrank_ir.models import Dtype

from .cli_derived import mine, render
from .trained import ExportKind

if TYPE_CHECKING:
    from .config import TrainConfig
    from .dry_run import DryRunReport
    from .sources import SourceFacts

app = typer.Typer(rich_markup_mode="markdown")
app.command()(mine)
app.command()(render)


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
    teach: Annotated[
        bool, typer.Option("--teach", help="Only compute and save the scores of data.teacher, and compare with labels.")
    ] = False,
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the queries that data.held_out sets aside as test collections, and stop."
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="MINUTES", help="Save a checkpoint and stop after this time; the same command goes on."
        ),
    ] = None,
    decay: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="STEPS", help="End a run with a decay of the learning rate, beginning at --from CHECKPOINT."
        ),
    ] = None,
    branch: Annotated[
        Path | None, typer.Option("--from", metavar="CHECKPOINT", help="A checkpoint of this configuration's run.")
    ] = None,
    cross_encoder: Annotated[
        bool,
        typer.Option(
            "--cross-encoder", help="For comparison: train a sentence-transformers cross-encoder on the same rows."
        ),
    ] = False,
    bi_encoder: Annotated[
        str | None,
        typer.Option(
            "--bi-encoder",
            metavar="NAME",
            help="Train this bi-encoder instead (minilm, or a name) on the scores of data.teacher.",
        ),
    ] = None,
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
        tasks = {
            "--held-out": held_out,
            "--teach": teach,
            "--cross-encoder": cross_encoder,
            "--bi-encoder": bi_encoder,
            "--dry-run": dry_run,
        }
        chosen = [name for name, wanted in tasks.items() if wanted]
        if len(chosen) > 1:
            raise InputError(f"{chosen[1]} does not work with {chosen[0]}; remove one of them")
        if (decay is None) != (branch is None) or (decay and chosen):
            raise InputError(f"--decay STEPS and --from CHECKPOINT go together, without {', '.join(tasks)}")
        if max_minutes is not None and chosen and not dry_run:
            raise InputError(f"--max-minutes does not work with {chosen[0]}; remove one of them")
        if held_out is not None:
            _write_held_out(config, given, held_out)
        elif teach:
            _teach(config, given)
        elif cross_encoder:
            _train_cross_encoder(config, given, resume=resume)
        elif bi_encoder is not None:
            _train_bi_encoder(config, bi_encoder, given, resume=resume)
        else:
            end = None if decay is None or branch is None else (branch, decay)
            _train(config, given, resume=resume, dry_run=dry_run, main=main, max_minutes=max_minutes, decay=end)
    except LimRankError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise typer.Exit(status_of(error)) from None  # one process per machine reports the error


def _train(
    path: Path,
    given: dict[str, Any],
    *,
    resume: bool,
    dry_run: bool,
    main: bool,
    max_minutes: float | None,
    decay: tuple[Path, int] | None,
) -> None:
    from .config import read_config

    need("train", "train", "yaml", "accelerate", "matplotlib")  # matplotlib is used only at the end of a run
    config = read_config(path, **given)
    _check_teacher(config)
    check_folder(f"output {config.output}" if given["output"] is None else f"-o {config.output}", config.output)
    if decay is not None:
        from .pieces import decayed

        config = decayed(config, *decay)
    if dry_run:
        from .dry_run import dry_run as check

        _show(check(path, **given, resume=resume), main=main)
        return
    from limrank_ir.formats.files import replacing

    from .run import train as run
    from .sources import read_sources

    _keep_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):  # Trainer prints its progress to stdout
        adapter = run(path, **given, resume=resume, max_minutes=max_minutes, decay=decay)
    if main and adapter is None:
        console.log.info("stopped after %g minutes, before the end; the same command goes on", max_minutes)
    elif main and adapter is not None:
        with replacing(config.output / "data.json") as file:
            json.dump([facts.record() for facts, _ in read_sources(config)], file, indent=2, ensure_ascii=False)
        console.log.info("adapter, run.json, data.json and loss.png are in %s", adapter.parent)


def _write_held_out(path: Path, given: dict[str, Any], folder: Path) -> None:
    from .config import read_config
    from .held_out import write_collections

    need("train", "train", "yaml")
    check_folder(f"--held-out {folder}", folder)
    places = write_collections(read_config(path, **given).data, folder)
    console.log.info("%d collections are in %s; measure on them: limrank bench suite %s", len(places), folder, folder)


def _teach(path: Path, given: dict[str, Any]) -> None:
    from .config import read_config
    from .run import read_examples, uses_teacher
    from .sources import read_sources
    from .teacher import teach

    need("train", "train", "yaml")
    config = read_config(path, **given)
    _check_teacher(config)
    if not uses_teacher(config):
        raise InputError(f"{path}: --teach needs data.teacher and data.layout: pointwise")
    teach(config.data, read_examples(config)[0], config.teacher_cache)
    _show_teachers([facts for facts, _ in read_sources(config)])


def _train_cross_encoder(path: Path, given: dict[str, Any], *, resume: bool) -> None:
    need("train --cross-encoder", "train", "yaml", "accelerate", "datasets", "sentence_transformers")
    from .config import read_config

    _check_teacher(read_config(path, **given))
    from .cross_encoder import train_cross_encoder

    _keep_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        folder = train_cross_encoder(path, **given, resume=resume)
    console.log.info("to evaluate it: limrank bench suite COLLECTION... --system cross-encoder:%s", folder)


def _train_bi_encoder(path: Path, start: str, given: dict[str, Any], *, resume: bool) -> None:
    need("train --bi-encoder", "train", "yaml", "accelerate", "datasets", "sentence_transformers")
    from .config import read_config

    _check_teacher(read_config(path, **given))
    from .bi_encoder import train_bi_encoder

    _keep_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        folder = train_bi_encoder(path, start, **given, resume=resume)
    console.log.info("to evaluate it: limrank bench suite COLLECTION... --system dense:%s", folder)


def _check_teacher(config: TrainConfig) -> None:
    from .teacher.models import packages

    for teacher in config.data.teacher:
        need(f"train with the teacher {teacher}", "train", *packages(teacher))


def _show(report: DryRunReport, *, main: bool) -> None:
    from .dry_run import table

    if not main:
        return
    console.table(*table(report), left=2)
    _show_teachers([facts for facts, _, _ in report.sources])
    processes = f" ({report.processes} processes)" if report.processes > 1 else ""
    digest = report.digest if report.digest_final else f"{report.digest} (without the teacher's scores)"
    facts = {
        "examples": f"{report.examples:,}",
        "tokens": f"{report.tokens[0]:,} in an epoch, {report.tokens[1]:,} of them in responses",
        "batch": f"{report.batch:,}{processes}",
        "steps": f"{report.steps:,}",
        "data": digest,
    }
    if excluded := [each for each, _, _ in report.sources if each.excluded_example]:
        query, theirs = excluded[0].excluded_example or ("", "")
        facts["excluded"] = (
            f"{sum(each.excluded for each in excluded):,} of the queries, such as {shorten(query, 80)!r}, which "
            f"contains {shorten(theirs, 80)!r} of data.exclude_topics"
        )
    if near := [each for each, _, _ in report.sources if each.near_held_out_example]:
        query, theirs = near[0].near_held_out_example or ("", "")
        facts["near held-out"] = (
            f"{sum(each.near_held_out for each in near):,} of the queries are not used, such as "
            f"{shorten(query, 80)!r}, which nearly equals {shorten(theirs, 80)!r} of data.held_out"
        )
    if report.checkpoint:
        facts["checkpoint"] = str(report.checkpoint)
    write_stdout("\n" + "".join(f"{name}\t{value}\n" for name, value in facts.items()))


def _show_teachers(sources: Sequence[SourceFacts]) -> None:
    from .dry_run import TEACHER_HEADER, teacher_table

    if rows := teacher_table(sources):
        write_stdout("\n")
        console.table(TEACHER_HEADER, rows, left=2)


def _keep_progress_bar() -> None:
    """Let Trainer show its progress bar, which needs transformers at level "warning", but print no warnings."""
    from transformers.utils import logging as transformers_logging

    if os.environ.get("TRANSFORMERS_VERBOSITY") == "error":
        transformers_logging.set_verbosity_warning()
        for handler in logging.getLogger("transformers").handlers:
            handler.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # the bars for loading and saving weights


@app.command()
def average(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="CHECKPOINT...", help="Checkpoints of one run, or its adapter-ema.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write; it must not exist.")
    ],
    weights: Annotated[
        list[float] | None,
        typer.Option("--weight", help="Weight of a checkpoint, one for each, in order.  [default: all the same]"),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Average the weights of checkpoints. The result is like the folder of a run, and costs no more to use.

    For example:

        limrank average runs/first/checkpoint-2000 runs/first/checkpoint-2200 -o runs/averaged
    """
    from .average import average as write

    check_folder(f"-o {output}", output.absolute().parent)
    console.log.info("the average is in %s", write(checkpoints, output, weights))


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
