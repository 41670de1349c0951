"""``limrank train --dry-run``: check everything that can be checked before any weights load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limrank_ir.errors import InputError
from limrank_ir.models import SMOL, Model
from limrank_ir.weights import locate

from .config import TrainConfig, read_config
from .formats import trainable_format
from .learnable import check_learnable
from .mixture import data_hash
from .run import arguments, base_model, check_thinking, last_checkpoint, read_examples, uses_teacher
from .run_record import check_settings
from .sources import SourceFacts, read_sources
from .teacher import FUSED, teach

BATCH = 64  # examples that are tokenized at a time
HEADER = ("source", "licenses", "queries", "pairs", "positive", "tokens, median", "95%", "longest", "cut", "excluded")


@dataclass(frozen=True)
class DryRunReport:
    """What a run would do.

    Attributes:
        sources: for each source, what the run would use of it, the lengths of its sequences in tokens, and how many of
            them were cut.
        examples: the number of training examples: groups, rows, or whole rankings (`Data.layout`).
        tokens: the number of tokens of an epoch, and how many of them are in responses, which the model learns.
        batch: examples per step, over all processes.
        processes: the number of processes.
        steps: the number of optimizer steps.
        digest: the hash of the data.
        digest_final: whether it is the hash that the run will have; without the scores of a teacher that has not run
            yet, it is not.
        checkpoint: the checkpoint that the run would continue from, or None.
    """

    sources: Sequence[tuple[SourceFacts, np.ndarray, int]]
    examples: int
    tokens: tuple[int, int]
    batch: int
    processes: int
    steps: int
    digest: str
    digest_final: bool
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
        data: as in `limrank_ir.train.run.train`.
        output: as in `limrank_ir.train.run.train`.
        changes: as in `limrank_ir.train.run.train`.
        resume: as in `limrank_ir.train.run.train`.

    Returns:
        What the run would do.

    Raises:
        InputError: anything that `limrank_ir.train.run.train` raises before its model loads.
    """
    config = read_config(path, data=data, output=output, changes=changes)
    base = base_model(config, path)
    check_thinking(config, trainable_format(base), path)
    settings = arguments(config, path)
    encode = _encoder(config, base)
    digest, final = _digest(config)
    sources, examples, responses = [], 0, 0
    for facts, drawn in read_sources(config):
        lengths, learned, cut = _lengths(drawn, encode)
        sources.append((facts, lengths, cut))
        examples += len(drawn)
        responses += learned
    checkpoint = last_checkpoint(config, resume=resume)
    if checkpoint is not None and final:
        check_settings(config, digest, save=False)
    batch = settings.train_batch_size * settings.world_size
    return DryRunReport(
        sources=sources,
        examples=examples,
        tokens=(sum(int(lengths.sum()) for _, lengths, _ in sources), responses),
        batch=batch * settings.gradient_accumulation_steps,
        processes=settings.world_size,
        steps=_steps(math.ceil(examples / batch), settings),
        digest=digest,
        digest_final=final,
        checkpoint=checkpoint,
    )


def table(report: DryRunReport) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The mixture as a table.

    Args:
        report: what `dry_run` returned.

    Returns:
        The header and the rows: one for each source, and one for all of them.
    """
    rows = [_row(facts.path, facts.licenses, [(facts, lengths, cut)]) for facts, lengths, cut in report.sources]
    return HEADER, [*rows, _row("all", (), report.sources)]


TEACHER_HEADER = ("source", "teacher", "positive first", "pairs in order", "negatives dropped", "queries dropped")


def teacher_table(facts: Sequence[SourceFacts]) -> list[tuple[str, ...]]:
    """How far the teachers agree with the labels.

    Args:
        facts: the sources.

    Returns:
        The rows below `TEACHER_HEADER`: one for each source and teacher with known scores.
    """
    rows = []
    for each in facts:
        for name, found in each.agreement.items():
            dropped = [f"{count:,}" if name == FUSED else "" for count in (each.false_negatives, each.lost_groups)]
            rows.append((each.path, name, f"{found.first:.0%}", f"{found.pairs:.0%}", *dropped))
    return rows


def _row(name: str, licenses: Sequence[str], sources: Sequence[tuple[SourceFacts, np.ndarray, int]]) -> tuple[str, ...]:
    pairs = sum(facts.pairs for facts, _, _ in sources)
    positives = sum(facts.positives for facts, _, _ in sources)
    lengths = np.concatenate([lengths for _, lengths, _ in sources])
    tokens = ["", "", ""]
    if len(lengths):
        tokens = [f"{count:,.0f}" for count in (np.median(lengths), np.percentile(lengths, 95), lengths.max())]
    return (
        name,
        ", ".join(licenses),
        f"{sum(facts.queries for facts, _, _ in sources):,}",
        f"{pairs:,}" if pairs else "",
        f"{positives / pairs:.0%}" if pairs else "",
        *tokens,
        f"{sum(cut for _, _, cut in sources):,}",
        f"{sum(facts.excluded for facts, _, _ in sources):,}",
    )


def _encoder(config: TrainConfig, base: Model) -> Any:
    """The run's encoder; it needs the tokenizer, but no weights."""
    from limrank_ir.engines.tokens import PromptTokenizer

    from .model import load_tokenizer
    from .trainer import encoder

    # For a hub id, this downloads only the tokenizer.
    here = base.weights == SMOL or Path(base.weights).expanduser().is_dir()
    try:
        tokenizer = load_tokenizer(locate(base.weights) if here else Path(base.weights), config.lora)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{base.weights}: its tokenizer is not available ({reason}); check the name and the network"
        ) from error
    fmt = trainable_format(base)
    return encoder(fmt, PromptTokenizer(tokenizer, fmt), config.data, config.objectives)


def _lengths(examples: Sequence[Any], encode: Any) -> tuple[np.ndarray, int, int]:
    """The length of every sequence in tokens, that of all responses, and in how many sequences a text was cut."""
    lengths, responses, cut = [], 0, 0
    for start in range(0, len(examples), BATCH):
        for sequences in encode(examples[start : start + BATCH]).values():
            lengths += [len(sequence.ids) for sequence in sequences]
            responses += sum(len(sequence.ids) - sequence.prompt for sequence in sequences)
            cut += sum(sequence.cut > 0 for sequence in sequences)
    return np.array(lengths, dtype=np.int64), responses, cut


def _digest(config: TrainConfig) -> tuple[str, bool]:
    """The data's hash, and whether it is final (`DryRunReport`)."""
    examples, digest = read_examples(config)
    if not uses_teacher(config):
        return digest, True
    taught = teach(config.data, examples, config.teacher_cache, cached_only=True)
    if not taught.complete:
        return digest, False
    check_learnable(taught.groups, config.objectives, taught=True)
    return data_hash(taught.groups), True


def _steps(batches: int, arguments: Any) -> int:
    """The number of optimizer steps, as transformers' Trainer counts them."""
    if arguments.max_steps > 0:
        return arguments.max_steps
    return math.ceil(arguments.num_train_epochs * max(math.ceil(batches / arguments.gradient_accumulation_steps), 1))
