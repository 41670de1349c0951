"""``limrank train CONFIG.yaml``: from a configuration to an adapter, a loss plot and a run card."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.models import Model, resolve
from limrank_ir.prompts import PromptFormat, prompt_format
from limrank_ir.weights import locate
from limrank_ir.workshop.settings import unknown

from .config import TrainConfig, read_config
from .learnable import check_learnable
from .mixture import data_hash, mix
from .rows import Group

log = logging.getLogger("limrank_ir")

SMALLER = (
    "lower training.per_device_train_batch_size, data.cutoff or a source's negatives, or set "
    "training.gradient_checkpointing"
)
"""What to do where memory runs out."""


def train(
    path: Path,
    *,
    data: Path | None = None,
    output: Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = True,
) -> Path:
    """Train an adapter.

    Under ``accelerate launch`` or ``torchrun`` every process calls this; data, model and result are the same for all.

    Args:
        path: the configuration (`limrank_ir.train.config`).
        data: where the sources are, instead of ``data.folder``.
        output: where results go, instead of ``output``.
        changes: settings that take the place of the file's (`read_config`).
        resume: go on from the last whole checkpoint in the output folder; else the folder must hold none.

    Returns:
        The adapter's folder.

    Raises:
        InputError: the configuration or the data are wrong (found before any weights load), or a checkpoint is of
            another configuration.
        EngineError: memory ran out.
    """
    config = read_config(path, data=data, output=output, changes=changes)
    base = base_model(config, path)
    if config.data.layout == "pointwise" and "traces" in config.objectives and not _format(base).end_of_thought:
        raise InputError(f"{path}: objectives: the prompt format {base.prompt_format} cannot think; leave out traces")
    examples, digest = _examples(config)
    settings = arguments(config, path)
    with settings.main_process_first(desc="the teacher"):  # the others find what the first one kept
        examples, digest = _taught(config, examples, digest)
    from limrank_ir.engines.memory import within_memory
    from limrank_ir.engines.whole import record_base

    from .run_record import check_settings, write_run_record

    started = time.time()
    main = settings.process_index == 0
    checkpoint = last_checkpoint(config, resume=resume)
    if main:
        check_settings(config, digest)
    with within_memory(str(path), SMALLER):
        trainer = _trainer(config, base, examples, settings)
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    adapter = config.output / "adapter"
    trainer.save_model(str(adapter))
    if main:
        record_base(adapter, base)
        write_run_record(config, trainer, digest, len(examples), result.metrics, started)
    return adapter


def base_model(config: TrainConfig, path: Path) -> Model:
    """The model that a run starts from.

    Args:
        config: the run.
        path: its file, for the error message.

    Raises:
        InputError: it is unknown, or has an adapter already.
    """
    base = resolve(config.model, prompt_format=config.prompt_format)
    if base.adapter is not None:
        raise InputError(f"{path}: model: {base.name} has an adapter already; train on {base.name}-untrained")
    return base


def _examples(config: TrainConfig) -> tuple[list[Any], str]:
    if config.data.layout == "pointwise":
        groups = mix(config.data, config.seed)
        if "traces" in config.objectives:
            _check_traces(groups, alone=len(config.objectives) == 1)
        check_learnable(groups, config.objectives)
        return list(groups), data_hash(groups)
    from .rankings import read_rankings

    return read_rankings(config.data, config.seed)


def _check_traces(groups: list[Group], *, alone: bool) -> None:
    """Make sure that there is something to learn thinking from: in every group, if it is learned alone."""
    mute = [group for group in groups if not any(candidate.reasoning for candidate in group.candidates)]
    if len(mute) == len(groups) or (alone and mute):
        raise InputError(
            f"{mute[0].source}: the row {mute[0].qid[:60]!r} has no reasoning, from which the objective traces learns "
            f"({len(mute)} of {len(groups)} such); leave such rows out, or choose other objectives"
        )


def _taught(config: TrainConfig, examples: list[Any], digest: str) -> tuple[list[Any], str]:
    if config.data.layout != "pointwise" or config.data.teacher is None:
        return examples, digest
    from .teacher import taught

    groups = taught(examples, config.data.teacher, config.output / "teacher.json")
    return list(groups), data_hash(groups)


def arguments(config: TrainConfig, path: Path, kind: Any = None) -> Any:
    """What transformers' Trainer is told: the configuration's ``training`` and what follows from the rest of it.

    Args:
        config: the run.
        path: its file, for the error message.
        kind: the class to make; None: ``TrainingArguments``.

    Raises:
        InputError: settings are unknown, all of which are named, or one is impossible here.
    """
    from transformers import TrainingArguments

    kind = kind or TrainingArguments
    names = [field.name for field in fields(kind)]
    if wrong := [f"training.{name}: {unknown(name, names)}" for name in config.training if name not in names]:
        raise InputError(f"{path}: {'; '.join(wrong)}")
    settings: dict[str, Any] = {
        "report_to": "none",
        "save_strategy": "steps",
        "logging_steps": 10,
        # Every batch uses all of the adapter; a search for what it does not use would break checkpointing.
        "ddp_find_unused_parameters": False,
        **config.training,
    }
    for name, value in settings.items():
        usual = getattr(TrainingArguments, name, None)
        if isinstance(value, str) and isinstance(usual, (int, float)) and not isinstance(usual, bool):
            try:
                settings[name] = type(usual)(value)  # YAML reads 1e-4 as text: it wants 1.0e-4
            except ValueError as error:
                raise InputError(f"{path}: training: {name} is {value!r}; write a number") from error
    try:
        return kind(
            output_dir=str(config.output),
            seed=config.seed,
            data_seed=config.seed,
            remove_unused_columns=False,
            label_names=[],
            **settings,
        )
    except (TypeError, ValueError, ImportError) as error:
        raise InputError(f"{path}: training: {str(error).splitlines()[0]}") from error


def last_checkpoint(config: TrainConfig, *, resume: bool) -> Path | None:
    """The checkpoint from which a run goes on, or None.

    Args:
        config: the run.
        resume: whether it may go on from one.

    Raises:
        InputError: there is one, but it may not.
    """
    from .trainer import last_whole_checkpoint

    found = last_whole_checkpoint(config.output)
    if found is not None and not resume:
        raise InputError(f"{config.output}: holds checkpoints; go on with --resume, or give another output")
    if found is not None:
        log.info("going on from %s", found)
    return found


def _format(base: Model) -> PromptFormat:
    return prompt_format(base.prompt_format)


def _trainer(config: TrainConfig, base: Model, examples: list[Any], settings: Any) -> Any:
    from limrank_ir.engines.tokens import PromptTokenizer

    from .model import load_model, load_tokenizer
    from .trainer import VerdictTrainer, encoder, survey

    weights = locate(base.weights)
    fmt = _format(base)
    tokenizer = load_tokenizer(weights, config.lora)
    prompts = PromptTokenizer(tokenizer, fmt)
    encode = encoder(fmt, prompts, config.data.cutoff, config.objectives, config.data.layout)
    cut, count = survey(encode, examples)
    if cut:
        log.info("%d of %d rows are cut to fit into %d tokens", cut, count, config.data.cutoff)
    suits = settings.device.type == "cpu" and not settings.gradient_checkpointing
    pack = suits if config.packed is None else config.packed
    # The adapter's first weights are drawn with the run's seed, too.
    from transformers import set_seed

    set_seed(config.seed)
    model = load_model(config, weights, tokenizer, pack=pack)
    return VerdictTrainer(
        model=model,
        args=settings,
        train_dataset=examples,
        processing_class=tokenizer,
        encode=encode,
        objectives=config.objectives,
        labels=prompts.label_ids,
        pack=pack,
    )
