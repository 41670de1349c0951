"""An exponential moving average of the trained weights, kept during a run, saved in checkpoints, and resumed exactly.

Early in a run, the average moves faster, so that it soon forgets where the run began: after t steps, its decay is at
most (1 + t) / (10 + t), as in TensorFlow's ``ExponentialMovingAverage``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback

from limrank_ir.errors import InputError

FOLDER = "adapter-ema"
"""The average as an adapter, in the folder of a run."""

IN_CHECKPOINT = Path("ema", "adapter")
"""The same in a checkpoint. Trainer would load an adapter in the next folder as a second adapter of the model."""


class Ema(TrainerCallback):
    """The average; `VerdictTrainer` saves it."""

    def __init__(self, model: Any, tokenizer: Any, decay: float, resumed: Path | None) -> None:
        """Start the average from the model's weights, or go on from a checkpoint's.

        Args:
            model: PEFT's model.
            tokenizer: the tokenizer, which belongs to an adapter that adds tokens.
            decay: the decay per step, from 0 to 1.
            resumed: the checkpoint from which the run goes on, or None.

        Raises:
            InputError: the checkpoint has no average.
        """
        self._model, self._tokenizer, self._decay = model, tokenizer, decay
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._average = [parameter.detach().clone() for parameter in self._trained]
        if resumed is not None:
            self._load(resumed)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the average towards the weights."""
        decay = min(self._decay, (1 + state.global_step) / (10 + state.global_step))
        get_ema_multi_avg_fn(decay)(self._average, [parameter.detach() for parameter in self._trained], None)

    def save(self, folder: Path) -> None:
        """Save the average as a PEFT adapter, with the tokenizer beside it, as Trainer saves the weights."""
        with self._swapped():
            self._model.save_pretrained(str(folder))
        self._tokenizer.save_pretrained(str(folder))

    def _load(self, checkpoint: Path) -> None:
        from peft.utils import load_peft_weights, set_peft_model_state_dict

        folder = checkpoint / IN_CHECKPOINT
        if not folder.is_dir():
            raise InputError(f"{checkpoint}: has no {IN_CHECKPOINT}, so its run had no ema; remove ema, or start again")
        with self._swapped():
            set_peft_model_state_dict(self._model, load_peft_weights(str(folder), device="cpu"))

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        """The model with the average as its weights; whatever its weights are afterwards becomes the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self._trained, self._average, strict=True):
            weights = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(weights)
