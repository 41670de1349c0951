"""transformers' Trainer, with groups of passages as examples and our objectives as the loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.errors import InputError
from limrank_ir.prompts import PromptFormat

from .config import Data
from .ema import IN_CHECKPOINT, Ema
from .encode import TokenSequence, ranking_sequences, row_sequences, trace_sequences, verdict_sequences
from .forward import packed, padded
from .objectives import Verdicts, objective
from .objectives.traces import loss as trace_loss
from .objectives.traces import loss_per_token
from .rows import Group

Encode = Callable[[Sequence[Any]], dict[str, list[TokenSequence]]]
"""From a batch of examples to its sequences, under ``verdicts`` and ``traces``."""


class VerdictTrainer(Trainer):
    """transformers' Trainer with our loss; loop, checkpoints, schedules, precision, sharding, and loggers are its own.

    A batch is tokenized when its turn comes, run packed or padded, and passed to the objectives.
    """

    def __init__(
        self,
        *args: Any,
        encode: Encode,
        objectives: dict[str, float],
        labels: tuple[int, int],
        pack: bool,
        per_token: bool = False,
        **kwargs: Any,
    ) -> None:
        """Create the trainer.

        Args:
            *args: arguments of transformers' Trainer.
            encode: turns a batch of examples into token sequences.
            objectives: the weight of each objective.
            labels: ids of the positive and the negative label token.
            pack: whether to run batches packed.
            per_token: whether the loss of ``traces`` is the mean over all response tokens of a step, over accumulated
                batches and processes, and not over groups.
            **kwargs: arguments of transformers' Trainer.
        """
        super().__init__(*args, data_collator=encode, **kwargs)
        self._objectives, self._labels = objectives, labels
        self._forward = packed if pack else padded
        # Trainer must divide a mean over groups by the accumulation steps, and a mean over a step's tokens by nothing.
        self.model_accepts_loss_kwargs = per_token
        self._parts: list[list[float]] = []
        self.ema: Ema | None = None

    def keep_average(self, decay: float, resumed: Path | None) -> None:
        """Keep an exponential moving average of the trained weights (`limrank_ir.train.ema`).

        Args:
            decay: the decay per step.
            resumed: the checkpoint from which the run goes on, or None.

        Raises:
            InputError: the checkpoint has no average, or the weights are spread over processes.
        """
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise InputError("ema needs the whole adapter in each process, so not FSDP or DeepSpeed; remove it")
        self.ema = Ema(self.model, self.processing_class, decay, resumed)
        self.add_callback(self.ema)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save the average first: a checkpoint is complete when Trainer has written its own state."""
        if self.ema is not None and self.args.should_save:
            checkpoint = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            self.ema.save(Path(self._get_output_dir(trial)) / checkpoint / IN_CHECKPOINT)
        super()._save_checkpoint(model, trial)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """The batches of a step and, if the loss is per token, how many response tokens all processes have in it.

        `Trainer` counts them only in batches of tensors.
        """
        batches, _ = super().get_batch_samples(*args, **kwargs)
        rows = [sequence for batch in batches for sequences in batch.values() for sequence in sequences]
        counts = [sum(len(row.ids) for row in rows), sum(len(row.ids) - row.prompt for row in rows)]
        every, learned = self.accelerator.gather(torch.tensor([counts], device=self.args.device)).sum(0)
        self.state.num_input_tokens_seen += int(every)
        return batches, learned if self.model_accepts_loss_kwargs else None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, list[TokenSequence]],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The weighted sum of the objectives over a batch, a scalar.

        Args:
            model: the model.
            inputs: the batch.
            return_outputs: as in Trainer.
            num_items_in_batch: the number of response tokens of the whole step (`get_batch_samples`), or None.
        """
        parts: dict[str, torch.Tensor] = {}
        if sequences := inputs.get("verdicts"):
            verdicts = self._verdicts(model, sequences)
            for name in sorted(self._objectives.keys() - {"traces"}):
                parts[name] = objective(name)(verdicts).mean()
        if sequences := inputs.get("traces"):
            parts["traces"] = self._traces(model, sequences, num_items_in_batch)
        # A batch without traces counts as 0 in their mean, so that the logged parts add up to the loss.
        self._parts.append([parts[name].item() if name in parts else 0.0 for name in self._objectives])
        total = sum((self._objectives[name] * value for name, value in sorted(parts.items())), torch.zeros(()))
        return (total, {}) if return_outputs else total

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the tokens of prompts and responses so far, and each objective next to their sum if there are several."""
        if "loss" in logs:
            logs["num_tokens"] = self.state.num_input_tokens_seen  # the name is trl's
        if "loss" in logs and len(self._objectives) > 1 and self._parts:
            mean = torch.tensor(self._parts, device=self.args.device).mean(0, keepdim=True)
            means = self.accelerator.gather(mean).mean(0).tolist()  # all processes log at the same steps
            logs |= {f"loss_{name}": value for name, value in sorted(zip(self._objectives, means, strict=True))}
        self._parts.clear()
        super().log(logs, *args, **kwargs)

    def _prepare_inputs(self, inputs: dict[str, list[TokenSequence]]) -> dict[str, list[TokenSequence]]:
        """Leave the sequences alone; they become tensors on the right device when they are run."""
        return inputs

    def _traces(self, model: Any, sequences: Sequence[TokenSequence], step_tokens: Any) -> torch.Tensor:
        logits, sequence = self._forward(model, sequences)
        device = logits.device
        targets = torch.cat([torch.from_numpy(each.ids[each.prompt :]).long() for each in sequences]).to(device)
        token_loss = cross_entropy(logits.float(), targets, reduction="none")
        if step_tokens is not None:
            # The processes' gradients are averaged, and their losses are added up.
            return loss_per_token(token_loss, step_tokens) * self.accelerator.num_processes
        group = torch.tensor([each.group for each in sequences], device=device)
        return trace_loss(token_loss, sequence, group, sequences[0].groups).mean()

    def _verdicts(self, model: Any, sequences: Sequence[TokenSequence]) -> Verdicts:
        logits, _ = self._forward(model, sequences)
        logits = logits.float()
        positive, negative = self._labels
        device = logits.device
        groups = sequences[0].groups
        group = torch.tensor([each.group for each in sequences], device=device)
        counts = torch.bincount(group, minlength=groups)
        first = counts.cumsum(0) - counts
        column = torch.arange(len(sequences), device=device) - first[group]
        targets = torch.tensor([int(each.ids[-1]) for each in sequences], device=device)

        def table(values: torch.Tensor) -> torch.Tensor:
            """One value per sequence, arranged as ``[groups, passages]``."""
            return values.new_zeros(groups, int(counts.max())).index_put((group, column), values)

        candidates = [each.candidate for each in sequences]
        labels = [float(each.label) for each in candidates]
        grades = [float(each.label) if each.grade is None else each.grade for each in candidates]
        teacher = [math.nan if each.teacher is None else each.teacher for each in candidates]
        return Verdicts(
            log_odds=table(logits[:, positive] - logits[:, negative]),
            label_loss=table(cross_entropy(logits, targets, reduction="none")),
            labels=table(torch.tensor(labels, device=device)),
            grades=table(torch.tensor(grades, device=device)),
            teacher=table(torch.tensor(teacher, device=device)),
            here=table(torch.ones(len(sequences), device=device)) > 0,
        )


def encoder(fmt: PromptFormat, tokenizer: PromptTokenizer, data: Data, objectives: dict[str, float]) -> Encode:
    """The function that turns a batch into token sequences.

    Args:
        fmt: the prompt format.
        tokenizer: the engine's tokenizer.
        data: the mixture, for its layout and its cutoff.
        objectives: the run's objectives, which decide what sequences are needed.

    Returns:
        The data collator of `VerdictTrainer`.
    """

    def encode(batch: Sequence[Any]) -> dict[str, list[TokenSequence]]:
        if data.whole_rankings:
            return {"traces": ranking_sequences(batch, tokenizer, data.cutoff)}
        groups: Sequence[Group] = batch
        if data.layout == "rows":
            return {"traces": row_sequences(groups, fmt, tokenizer, data.cutoff, data.cut)}
        encoded = {}
        if objectives.keys() - {"traces"}:
            encoded["verdicts"] = verdict_sequences(groups, fmt, tokenizer, data.cutoff)
        if "traces" in objectives:
            encoded["traces"] = trace_sequences(groups, fmt, tokenizer, data.cutoff)
        return encoded

    return encode


def survey(encode: Encode, examples: Sequence[Any]) -> tuple[int, int]:
    """Encode every example once, to find those that do not fit before the run and not in the middle of it.

    Args:
        encode: the result of `encoder`.
        examples: all examples.

    Returns:
        (number of sequences in which a text was cut, number of sequences).

    Raises:
        InputError: an example does not fit, even after cutting.
    """
    cut = count = 0
    for example in examples:
        for sequences in encode([example]).values():
            count += len(sequences)
            cut += sum(sequence.cut > 0 for sequence in sequences)
    return cut, count


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; a run that is killed while it saves one leaves an incomplete checkpoint.

    Args:
        folder: the run's output folder.

    Returns:
        The checkpoint's folder, or None.
    """
    found = []
    for place in folder.glob("checkpoint-*"):
        try:
            # Trainer writes this file last.
            state = json.loads((place / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
            found.append((state["global_step"], place))
        except (OSError, ValueError, KeyError):
            continue
    return max(found)[1] if found else None
