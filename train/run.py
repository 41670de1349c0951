"""``limrank train CONFIG.yaml``: train an adapter as a configuration says, and record the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.models import Model, resolve
from limrank_ir.prompts import PromptFormat
from limrank_ir.weights import locate
from limrank_ir.workshop.settings import unknown

from .config import TrainConfig, read_config
from .formats import trainable_format
from .learnable import check_learnable
from .mixture import data_hash, mix
from .rankings import read_rankings
from .rows import Group
from .run_record import check_same_run, check_settings, write_run_record
from .start import start_folder
from .teacher import teach

log = logging.getLogger("limrank_ir")

SAVE_MEMORY = (
    "lower training.per_device_train_batch_size, data.cutoff or a source's negatives, or set "
    "training.gradient_checkpointing"
)
"""Advice for when memory runs out."""


def train(
    path: Path,
    *,
    data: Path | None = None,
    output: Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = True,
    max_minutes: float | None = None,
    decay: tuple[Path, int] | None = None,
) -> Path | None:
    """Train an adapter.

    Under ``accelerate launch`` or ``torchrun``, every process calls this, with the same data and the same result.

    Args:
        path: the configuration (`limrank_ir.train.config`).
        data: the folder of the sources, instead of ``data.folder``.
        output: the folder for results, instead of ``output``.
        changes: settings that override those of the file (`read_config`).
        resume: continue from the last complete checkpoint in the output folder; otherwise the folder must not contain
            any.
        max_minutes: save a checkpoint and stop after this time; the same call goes on from there.
        decay: (a checkpoint of a run with this configuration, a number of steps): end that run from there with a decay
            of the learning rate (`limrank_ir.train.pieces`), in another output folder.

    Returns:
        The adapter's folder; None if the run stopped before its end because of `max_minutes`.

    Raises:
        InputError: the configuration or the data are wrong (checked before any weights load), or the checkpoint comes
            from a run with other settings.
        EngineError: memory ran out.
    """
    started = time.time()
    config = read_config(path, data=data, output=output, changes=changes)
    if decay is not None:
        from .pieces import decayed

        config = decayed(config, *decay)
    base = base_model(config, path)
    fmt = trainable_format(base)
    check_thinking(config, fmt, path)
    examples, digest = read_examples(config)
    settings = arguments(config, path)
    if uses_teacher(config):
        with settings.main_process_first(desc="the teachers"):  # the other processes read the saved scores
            examples = teach(config.data, examples, config.teacher_cache).groups
        check_learnable(examples, config.objectives, taught=True)
        digest = data_hash(examples)
    from limrank_ir.engines.adapters import record_base
    from limrank_ir.engines.out_of_memory import within_memory

    from .ema import FOLDER as EMA

    main = settings.process_index == 0
    branch = None if decay is None else decay[0]
    if branch is not None:
        check_same_run(config, digest, branch)
    checkpoint = last_checkpoint(config, resume=resume) or branch
    if main:
        check_settings(config, digest)
    with within_memory(str(path), SAVE_MEMORY):
        trainer = _trainer(config, base, examples, settings)
        if config.ema is not None:
            trainer.keep_average(config.ema, checkpoint)
        if max_minutes is not None:
            from .pieces import StopAfter

            trainer.add_callback(StopAfter(max_minutes, started))
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < trainer.state.max_steps:
        return None
    adapter = config.output / "adapter"
    trainer.save_model(str(adapter))
    if main:
        record_base(adapter, base)
        if trainer.ema is not None:
            trainer.ema.save(config.output / EMA)
            record_base(config.output / EMA, base)
        resumed = checkpoint is not None
        write_run_record(
            config, trainer, digest, len(examples), result.metrics, started, resumed=resumed, branch=branch
        )
    return adapter


def base_model(config: TrainConfig, path: Path) -> Model:
    """The model that a run starts from.

    Args:
        config: the run.
        path: the configuration file, for the error message.

    Raises:
        InputError: the model is unknown, or already has an adapter, or there is no adapter to start from.
    """
    base = resolve(config.model, prompt_format=config.prompt_format)
    if base.adapter is not None:
        raise InputError(
            f"{path}: model: {base.name} already has an adapter; train {base.name}-untrained instead, with "
            f"lora.start: {base.name} to start from that adapter"
        )
    if config.lora.start is not None:
        start_folder(config.lora.start)
    return base


def check_thinking(config: TrainConfig, fmt: PromptFormat, path: Path) -> None:
    """Check that a run on traces has a prompt format that can think.

    Args:
        config: the run.
        fmt: the model's prompt format.
        path: the configuration file, for the error message.

    Raises:
        InputError: it cannot.
    """
    if not config.data.whole_rankings and "traces" in config.objectives and not fmt.end_of_thought:
        raise InputError(f"{path}: objectives: the prompt format {fmt.name} cannot think; remove traces")


def read_examples(config: TrainConfig) -> tuple[list[Any], str]:
    """Draw the training examples, without a teacher's scores.

    Args:
        config: the run.

    Returns:
        (groups or whole rankings, the hash of the data).

    Raises:
        InputError: the data cannot be used, or there is nothing to learn from them.
    """
    if config.data.whole_rankings:
        examples, digest = read_rankings(config.data, config.seed)
        return list(examples), digest
    groups = mix(config.data, config.seed)
    if "traces" in config.objectives:
        _check_traces(groups, alone=len(config.objectives) == 1)
    check_learnable(groups, config.objectives)
    return list(groups), data_hash(groups)


def uses_teacher(config: TrainConfig) -> bool:
    """Whether the run's examples get teachers' scores."""
    return bool(config.data.teacher) and config.data.layout == "pointwise"


def _check_traces(groups: list[Group], *, alone: bool) -> None:
    """Check that there is reasoning to learn from: in every group, if ``traces`` is the only objective."""
    without = [group for group in groups if not any(candidate.reasoning for candidate in group.candidates)]
    if len(without) == len(groups) or (alone and without):
        raise InputError(
            f"{without[0].source}: the row {without[0].qid[:60]!r} has no reasoning ({len(without)} of {len(groups)} "
            "rows), which the objective traces needs; remove such rows, or choose other objectives"
        )


def arguments(config: TrainConfig, path: Path, arguments_class: Any = None) -> Any:
    """The arguments for transformers' Trainer: the configuration's ``training``, output folder, and seed.

    Args:
        config: the run.
        path: the configuration file, for the error message.
        arguments_class: the class to instantiate; None: ``TrainingArguments``.

    Raises:
        InputError: settings are unknown (the message names all of them), or one is invalid.
    """
    from transformers import TrainingArguments

    arguments_class = arguments_class or TrainingArguments
    names = [field.name for field in fields(arguments_class)]
    if wrong := [f"training.{name}: {unknown(name, names)}" for name in config.training if name not in names]:
        raise InputError(f"{path}: {'; '.join(wrong)}")
    settings: dict[str, Any] = {
        "report_to": "none",
        "save_strategy": "steps",
        "logging_steps": 10,
        # Every batch uses the whole adapter, and a search for unused parameters would break gradient checkpointing.
        "ddp_find_unused_parameters": False,
        **config.training,
    }
    if isinstance(given := settings.get("lr_scheduler_kwargs"), dict):
        settings["lr_scheduler_kwargs"] = {name: _number(value) for name, value in given.items()}
    for name, value in settings.items():
        default = getattr(TrainingArguments, name, None)
        if isinstance(value, str) and isinstance(default, (int, float)) and not isinstance(default, bool):
            try:
                settings[name] = type(default)(value)  # YAML reads 1e-4 as text, and only 1.0e-4 as a number
            except ValueError as error:
                raise InputError(f"{path}: training: {name} is {value!r}; write a number") from error
    try:
        return arguments_class(
            output_dir=str(config.output),
            seed=config.seed,
            data_seed=config.seed,
            remove_unused_columns=False,
            label_names=[],
            **settings,
        )
    except (TypeError, ValueError, ImportError) as error:
        raise InputError(f"{path}: training: {str(error).splitlines()[0]}") from error


def _number(value: Any) -> Any:
    """A number that YAML reads as text, as a number; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def last_checkpoint(config: TrainConfig, *, resume: bool) -> Path | None:
    """The checkpoint to continue from, or None.

    Args:
        config: the run.
        resume: whether the run may continue from a checkpoint.

    Raises:
        InputError: there is a checkpoint, but `resume` is false.
    """
    from .trainer import last_complete_checkpoint

    found = last_complete_checkpoint(config.output)
    if found is not None and not resume:
        raise InputError(f"{config.output}: contains checkpoints; continue with --resume, or use another output folder")
    if found is not None:
        log.info("continuing from %s", found)
    return found


def _trainer(config: TrainConfig, base: Model, examples: list[Any], settings: Any) -> Any:
    from limrank_ir.engines.tokens import PromptTokenizer

    from .model import load_model, load_tokenizer
    from .start import start_from
    from .trainer import VerdictTrainer, encoder, survey

    weights = locate(base.weights)
    fmt = trainable_format(base)
    tokenizer = load_tokenizer(weights, config.lora)
    prompts = PromptTokenizer(tokenizer, fmt)
    encode = encoder(fmt, prompts, config.data, config.objectives)
    cut, count = survey(encode, examples)
    if cut:
        log.info("%d of %d prompts were cut to fit into %d tokens", cut, count, config.data.cutoff)
    pack = config.packed
    if pack is None:
        pack = settings.device.type == "cpu" and not settings.gradient_checkpointing
    from transformers import set_seed

    set_seed(config.seed)  # the adapter starts from random weights
    model = load_model(config, weights, tokenizer, pack=pack)
    if config.lora.start is not None:
        start_from(model, config.lora.start, base)
    if settings.bf16 or settings.fp16:
        # Autocast would undo PEFT's cast to float32 at once, and both copies take time.
        for module in model.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False
    return VerdictTrainer(
        model=model,
        args=settings,
        train_dataset=examples,
        processing_class=tokenizer,
        encode=encode,
        objectives=config.objectives,
        labels=(prompts.label_ids[0], prompts.label_ids[1]),
        pack=pack,
        per_token=config.data.layout == "rows",
    )
