"""``limrank train --dry-run``: everything about a run that can be known before its weights load."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limrank_ir.errors import InputError
from limrank_ir.models import SMOL, Model
from limrank_ir.prompts import prompt_format
from limrank_ir.weights import locate

from .config import TrainConfig, read_config
from .mixture import data_hash
from .sources import SourceFacts, read_sources

BATCH = 64  # groups that are tokenized at a time
HEADER = ("source", "licenses", "queries", "pairs", "positive", "tokens, median", "95%", "longest", "cut")


@dataclass(frozen=True)
class DryRunReport:
    """What a run would do.

    Attributes:
        sources: what is taken of each source, with the lengths of its rows in tokens and how many were cut.
        examples: groups, or whole rankings.
        batch: examples a step, over all processes.
        processes: how many there are.
        steps: optimizer steps.
        digest: of texts and labels, and of the teacher's scores where `taught` says so.
        taught: whether the teacher's scores are there already and the digest is the run's own.
        checkpoint: where the run would go on, or None.
    """

    sources: Sequence[tuple[SourceFacts, np.ndarray, int]]
    examples: int
    batch: int
    processes: int
    steps: int
    digest: str
    taught: bool
    checkpoint: Path | None


def dry_run(
    path: Path,
    *,
    data: Path | None = None,
    output: Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = True,
) -> DryRunReport:
    """Check a run without loading its model.

    Args:
        path: the configuration.
        data: as for `limrank_ir.train.run.train`, like the rest.
        output: likewise.
        changes: likewise.
        resume: likewise.

    Returns:
        What it would do.

    Raises:
        InputError: what `limrank_ir.train.run.train` would raise before its model loads.
    """
    from .run import arguments, base_model, last_checkpoint

    config = read_config(path, data=data, output=output, changes=changes)
    base = base_model(config, path)
    settings = arguments(config, path)
    encode = _encoder(config, base)
    digest, taught = _digest(config)
    sources, examples = [], 0
    for facts, rows in read_sources(config):
        lengths, cut = _lengths(rows, encode)
        sources.append((facts, lengths, cut))
        examples += len(rows)
    checkpoint = last_checkpoint(config, resume=resume)
    if checkpoint is not None and taught:
        from .run_record import check_settings

        check_settings(config, digest)
    batch = settings.train_batch_size * settings.world_size
    return DryRunReport(
        sources=sources,
        examples=examples,
        batch=batch * settings.gradient_accumulation_steps,
        processes=settings.world_size,
        steps=_steps(math.ceil(examples / batch), settings),
        digest=digest,
        taught=taught,
        checkpoint=checkpoint,
    )


def table(plan: DryRunReport) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The mixture as a table.

    Args:
        plan: what `dry_run` returned.

    Returns:
        Header and rows: the sources, and all of them together.
    """
    rows = [_row(facts.path, facts.licenses, [(facts, lengths, cut)]) for facts, lengths, cut in plan.sources]
    return HEADER, [*rows, _row("all", (), plan.sources)]


def _row(name: str, licenses: Sequence[str], sources: Sequence[tuple[SourceFacts, np.ndarray, int]]) -> tuple[str, ...]:
    pairs = sum(facts.pairs for facts, _, _ in sources)
    positives = sum(facts.positives for facts, _, _ in sources)
    lengths = np.concatenate([lengths for _, lengths, _ in sources])
    tokens = [np.median(lengths), np.percentile(lengths, 95), lengths.max()] if len(lengths) else []
    return (
        name,
        ", ".join(licenses),
        f"{sum(facts.queries for facts, _, _ in sources):,}",
        f"{pairs:,}" if pairs else "",
        f"{positives / pairs:.0%}" if pairs else "",
        *([f"{count:,.0f}" for count in tokens] or ["", "", ""]),
        f"{sum(cut for _, _, cut in sources):,}",
    )


def _encoder(config: TrainConfig, base: Model) -> Any:
    """The run's own way from examples to rows, with the tokenizer alone."""
    from limrank_ir.engines.tokens import PromptTokenizer

    from .model import load_tokenizer
    from .trainer import encoder

    # Of a hub id only the tokenizer's files are fetched.
    here = base.weights == SMOL or Path(base.weights).expanduser().is_dir()
    try:
        tokenizer = load_tokenizer(locate(base.weights) if here else Path(base.weights), config.lora)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{base.weights}: its tokenizer cannot be had ({reason}); check name and network") from error
    fmt = prompt_format(base.prompt_format)
    return encoder(fmt, PromptTokenizer(tokenizer, fmt), config.data.cutoff, config.objectives, config.data.layout)


def _lengths(examples: Sequence[Any], encode: Any) -> tuple[np.ndarray, int]:
    """Tokens of every row, and in how many rows a text was cut."""
    rows = [
        (len(row.ids), row.cut > 0)
        for start in range(0, len(examples), BATCH)
        for made in [encode(examples[start : start + BATCH])]
        for row in (*made.get("verdicts", ()), *made.get("traces", ()))
    ]
    return np.array([length for length, _ in rows], dtype=np.int64), sum(cut for _, cut in rows)


def _digest(config: TrainConfig) -> tuple[str, bool]:
    """The data's digest, and whether it is the run's own: the teacher's scores, if any, may not be there yet."""
    from .run import _examples

    teacher, kept = config.data.teacher, config.output / "teacher.json"
    untaught = config.model_copy(update={"data": config.data.model_copy(update={"teacher": None})})
    examples, digest = _examples(untaught)
    if teacher is None or not kept.exists():
        return digest, teacher is None
    from .teacher import taught

    with tempfile.TemporaryDirectory() as folder:  # a dry run leaves the run's own scores alone
        return data_hash(taught(examples, teacher, Path(shutil.copy(kept, folder)))), True


def _steps(batches: int, arguments: Any) -> int:
    """Optimizer steps, as transformers' Trainer counts them."""
    if arguments.max_steps > 0:
        return arguments.max_steps
    return math.ceil(arguments.num_train_epochs * max(math.ceil(batches / arguments.gradient_accumulation_steps), 1))
