"""A run in pieces: stop after some time and go on later, and end with a decay from any checkpoint.

With a learning rate that is constant after its warmup, a run need not know how long it will be. It can be stopped and
continued at any step, and be ended from any checkpoint by a short decay, as often as one likes (warmup-stable-decay).
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from limrank_ir.errors import InputError

from .config import TrainConfig

_CONSTANT = ("constant", "constant_with_warmup")
_WSD = "warmup_stable_decay"


class StopAfter(TrainerCallback):
    """Save a checkpoint and stop at the first step that ends after some time."""

    def __init__(self, minutes: float, started: float) -> None:
        """Set the time.

        Args:
            minutes: how long to run.
            started: since when, in seconds since the epoch.
        """
        self._end = started + 60 * minutes

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop if the time is over in any process; they must stop at the same step."""
        over = time.time() > self._end
        if args.world_size > 1:
            any_over = torch.tensor(float(over), device=args.device)
            torch.distributed.all_reduce(any_over, torch.distributed.ReduceOp.MAX)
            over = bool(any_over.item())
        if over and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True


def decayed(config: TrainConfig, checkpoint: Path, steps: int) -> TrainConfig:
    """The configuration of a run that ends another one with a decay of the learning rate.

    Args:
        config: the run that the checkpoint is from.
        checkpoint: a checkpoint from where its learning rate was constant.
        steps: the number of steps of the decay.

    Returns:
        The configuration; its learning rate is constant up to the checkpoint, and then decays. The shape of the decay
        and the last learning rate are those of ``training.lr_scheduler_kwargs``, if the run has this schedule. The
        teachers' scores are those of the run: computed again elsewhere, they could round differently.

    Raises:
        InputError: it is not a complete checkpoint, its learning rate was not constant, or the results would go into
            the run's own folder.
    """
    if steps < 1:
        raise InputError(f"--decay is {steps}; it must be at least 1 step")
    try:
        state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        step, last = int(state["global_step"]), int(state["max_steps"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"--from {checkpoint}: not a complete checkpoint; name a folder checkpoint-N") from error
    if checkpoint.resolve().parent == config.output:
        raise InputError(f"--decay: {config.output} has the run's own checkpoints; give another folder with -o")
    training = dict(config.training)
    kwargs = dict(training.get("lr_scheduler_kwargs") or {})
    schedule = training.get("lr_scheduler_type", "linear")
    warmup = float(training.get("warmup_steps") or training.get("warmup_ratio") or 0)  # a share of all steps below 1
    first = 0 if schedule == _CONSTANT[0] else math.ceil(warmup * last if warmup < 1 else warmup)
    if schedule == _WSD:
        last -= int(kwargs.get("num_decay_steps", 0))
    if schedule not in (*_CONSTANT, _WSD) or not first <= step <= last:
        raise InputError(
            f"--from {checkpoint}: the learning rate is not constant at step {step} ({schedule}); choose a checkpoint "
            f"from between the warmup and the decay of a run with lr_scheduler_type {_WSD} or {_CONSTANT[1]}"
        )
    for name in ("warmup_ratio", "num_train_epochs"):
        training.pop(name, None)
    kept = {name: kwargs[name] for name in ("decay_type", "min_lr_ratio", "num_cycles") if name in kwargs}
    training |= {
        "max_steps": step + steps,
        "lr_scheduler_type": _WSD,
        "lr_scheduler_kwargs": {**kept, "num_decay_steps": steps},
        "warmup_steps": 0,  # it is over
    }
    data = config.data.model_copy(update={"teacher_cache": config.data.teacher_cache or checkpoint.resolve().parent})
    return config.model_copy(update={"training": training, "data": data})
