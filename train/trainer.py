"""The trainer: transformers' own, with groups of passages as its examples and our objectives as its loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME

from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.prompts import PromptFormat

from .encode import TokenSequence, ranking_sequences, trace_sequences, verdict_sequences
from .forward import packed, padded
from .objectives import Verdicts, objective
from .objectives.traces import loss as trace_loss
from .rows import Group

Encode = Callable[[Sequence[Any]], dict[str, list[TokenSequence]]]
"""A batch of examples to the rows of each kind: ``verdicts``, ``traces``."""


class VerdictTrainer(Trainer):
    """transformers' Trainer, which keeps its loop, checkpoints, schedules, precision, sharding and loggers.

    What is ours is the loss: rows are encoded when their batch comes (nothing is tokenized beforehand), run packed or
    padded, and handed to the objectives.
    """

    def __init__(
        self,
        *args: Any,
        encode: Encode,
        objectives: dict[str, float],
        labels: tuple[int, int],
        pack: bool,
        **kwargs: Any,
    ) -> None:
        """Set what transformers' Trainer does not know.

        Args:
            *args: as transformers' Trainer takes them.
            encode: a batch of examples to rows.
            objectives: name to weight.
            labels: ids of the positive and the negative label token.
            pack: run batches packed.
            **kwargs: as transformers' Trainer takes them.
        """
        super().__init__(*args, data_collator=encode, **kwargs)
        self._objectives, self._labels = objectives, labels
        self._forward = packed if pack else padded
        # The loss is a mean over groups; Trainer shall divide it by the steps of accumulation, and nothing else.
        self.model_accepts_loss_kwargs = False
        self._parts: list[list[float]] = []

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, list[TokenSequence]],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The weighted sum of the objectives over a batch, a scalar."""
        parts: dict[str, torch.Tensor] = {}
        if rows := inputs.get("verdicts"):
            verdicts = self._verdicts(model, rows)
            for name in sorted(self._objectives.keys() - {"traces"}):
                parts[name] = objective(name)(verdicts).mean()
        if rows := inputs.get("traces"):
            parts["traces"] = self._traces(model, rows).mean()
        # A batch without traces adds 0 to their mean: so the parts sum up to the loss.
        self._parts.append([parts[name].item() if name in parts else 0.0 for name in self._objectives])
        total = sum((self._objectives[name] * value for name, value in sorted(parts.items())), torch.zeros(()))
        return (total, {}) if return_outputs else total

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the objectives beside their sum, where there are several."""
        if "loss" in logs and len(self._objectives) > 1 and self._parts:
            mean = torch.tensor(self._parts, device=self.args.device).mean(0, keepdim=True)
            means = self.accelerator.gather(mean).mean(0).tolist()  # every process logs at the same steps
            logs |= {f"loss_{name}": value for name, value in sorted(zip(self._objectives, means, strict=True))}
        self._parts.clear()
        super().log(logs, *args, **kwargs)

    def _prepare_inputs(self, inputs: dict[str, list[TokenSequence]]) -> dict[str, list[TokenSequence]]:
        """Rows become tensors, on the right device, when they are run."""
        return inputs

    def _traces(self, model: Any, rows: Sequence[TokenSequence]) -> torch.Tensor:
        logits, row = self._forward(model, rows)
        device = logits.device
        targets = torch.cat([torch.from_numpy(each.ids[each.prompt :]).long() for each in rows]).to(device)
        token_loss = cross_entropy(logits.float(), targets, reduction="none")
        return trace_loss(token_loss, row, torch.tensor([each.group for each in rows], device=device), rows[0].groups)

    def _verdicts(self, model: Any, rows: Sequence[TokenSequence]) -> Verdicts:
        logits, _ = self._forward(model, rows)
        logits = logits.float()
        positive, negative = self._labels
        device = logits.device
        groups = rows[0].groups
        group = torch.tensor([row.group for row in rows], device=device)
        counts = torch.bincount(group, minlength=groups)
        first = counts.cumsum(0) - counts
        column = torch.arange(len(rows), device=device) - first[group]
        targets = torch.tensor([int(row.ids[-1]) for row in rows], device=device)

        def spread(values: torch.Tensor) -> torch.Tensor:
            return values.new_zeros(groups, int(counts.max())).index_put((group, column), values)

        def known(read: Callable[[TokenSequence], float]) -> torch.Tensor:
            return spread(torch.tensor([read(row) for row in rows], device=device))

        return Verdicts(
            log_odds=spread(logits[:, positive] - logits[:, negative]),
            label_loss=spread(cross_entropy(logits, targets, reduction="none")),
            labels=known(lambda row: float(row.candidate.label)),
            grades=known(
                lambda row: float(row.candidate.label) if row.candidate.grade is None else row.candidate.grade
            ),
            teacher=known(lambda row: row.candidate.teacher or 0.0),
            here=spread(torch.ones(len(rows), device=device)) > 0,
        )


def encoder(
    fmt: PromptFormat, tokenizer: PromptTokenizer, cutoff: int, objectives: dict[str, float], layout: str
) -> Encode:
    """What turns a batch into rows.

    Args:
        fmt: the prompt format.
        tokenizer: the engine's tokenizer.
        cutoff: the most tokens of a row.
        objectives: the run's objectives: they say which rows are needed.
        layout: of the data (`Data.layout`).

    Returns:
        The collator of `VerdictTrainer`.
    """

    def encode(batch: Sequence[Any]) -> dict[str, list[TokenSequence]]:
        if layout != "pointwise":
            return {"traces": ranking_sequences(batch, tokenizer, cutoff)}
        groups: Sequence[Group] = batch
        made = {}
        if objectives.keys() - {"traces"}:
            made["verdicts"] = verdict_sequences(groups, fmt, tokenizer, cutoff)
        if "traces" in objectives:
            made["traces"] = trace_sequences(groups, fmt, tokenizer, cutoff)
        return made

    return encode


def survey(encode: Encode, examples: Sequence[Any]) -> tuple[int, int]:
    """Encode every example once, so that one that does not fit is found now and not in the middle of the run.

    Args:
        encode: what `encoder` made.
        examples: all examples.

    Returns:
        (rows in which a text was cut, all rows).

    Raises:
        InputError: an example cannot be made to fit.
    """
    cut = count = 0
    for example in examples:
        for rows in encode([example]).values():
            count += len(rows)
            cut += sum(row.cut > 0 for row in rows)
    return cut, count


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; a run that was killed while saving leaves a part of one.

    Args:
        folder: the run's output folder.

    Returns:
        The checkpoint's folder, or None.
    """
    found = []
    for place in folder.glob("checkpoint-*"):
        try:
            # Trainer writes this file last.
            found.append((json.loads((place / TRAINER_STATE_NAME).read_text(encoding="utf-8"))["global_step"], place))
        except (OSError, ValueError, KeyError):
            continue
    return max(found)[1] if found else None
