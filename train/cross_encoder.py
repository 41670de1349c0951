"""The usual alternative, for comparison: a cross-encoder head on the same base weights, trained on the same rows.

All of it is sentence-transformers' own: its model, trainer, loss and files. The result opens in
``sentence_transformers.CrossEncoder`` and in ``limrank bench suite --system cross-encoder:FOLDER``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.weights import locate

from .config import TrainConfig, read_config
from .learnable import check_learnable
from .mixture import mix
from .model import lora_config
from .objectives.distill import SCALE
from .rows import Group
from .run import SMALLER, arguments, base_model, last_checkpoint
from .teacher import taught

NONE = 1e-6  # the share of a passage that shall have none, which a logarithm needs


def train_cross_encoder(
    path: Path,
    *,
    data: Path | None = None,
    output: Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = True,
) -> Path:
    """Train a cross-encoder head and a LoRA adapter below it, and merge them.

    Model, rows, LoRA settings and ``training`` are those of the configuration; instructions stand in front of the
    query. The loss is ListNet towards what the objectives ``contrastive`` and ``distill`` aim at together, by their
    weights: for one relevant passage a group its gradient is theirs. Other objectives do not count.

    Args:
        path: the configuration.
        data: where the sources are, instead of ``data.folder``.
        output: where results go, instead of ``output``.
        changes: settings that take the place of the file's (`read_config`).
        resume: go on from the last whole checkpoint in the output folder.

    Returns:
        The cross-encoder's folder.

    Raises:
        InputError: the configuration or the data are wrong.
    """
    config = read_config(path, data=data, output=output, changes=changes)
    if config.data.layout != "pointwise":
        raise InputError(f"{path}: data.layout: a cross-encoder is trained on pointwise rows")
    weights = locate(base_model(config, path).weights)
    groups = mix(config.data, config.seed)
    aims = config.objectives.keys() & {"contrastive", "distill"} or {"contrastive"}
    check_learnable(groups, aims)
    if config.data.teacher is not None:
        groups = taught(groups, config.data.teacher, config.output / "teacher.json")
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments, losses
    from transformers import set_seed

    from limrank_ir.engines.memory import within_memory

    settings = arguments(config, path, CrossEncoderTrainingArguments)
    checkpoint = last_checkpoint(config, resume=resume)
    set_seed(config.seed)  # head and adapter are drawn
    model = _model(config, weights)

    class Trainer(CrossEncoderTrainer):
        """Its own way of going on from a checkpoint expects the names of a model without an adapter around it."""

        def _load_from_checkpoint(self, checkpoint_path: str) -> None:
            from peft import load_peft_weights, set_peft_model_state_dict

            set_peft_model_state_dict(model[0].model, load_peft_weights(checkpoint_path, device="cpu"))

    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list([row for group in groups if (row := _row(group, config.objectives))]),
        loss=losses.ListNetLoss(model, mini_batch_size=-1),  # a batch's pairs at once
    )
    with within_memory(str(path), SMALLER):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model[0].model = model[0].model.merge_and_unload()
    folder = config.output / "cross-encoder"
    model.save_pretrained(str(folder))
    return folder


def _model(config: TrainConfig, weights: Path) -> Any:
    from peft import get_peft_model
    from sentence_transformers import CrossEncoder
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    # sentence-transformers would score a causal model by its logits, as we do; the classifier is what we compare with.
    start = config.output / "start"
    AutoModelForSequenceClassification.from_pretrained(weights, num_labels=1).save_pretrained(start)
    AutoTokenizer.from_pretrained(weights).save_pretrained(start)
    model = CrossEncoder(str(start), max_length=config.data.cutoff, local_files_only=True)
    tokenizer = model.tokenizer
    # A causal tokenizer would write query and passage as one text, and end on whatever token comes last.
    between, end = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A",
        pair="$A <|endoftext|> $B <|im_start|>",
        special_tokens=[("<|endoftext|>", between), ("<|im_start|>", end)],
    )
    model[0].model = get_peft_model(model[0].model, lora_config(config.lora, model[0].model, task="SEQ_CLS"))
    return model


def _row(group: Group, objectives: dict[str, float]) -> dict[str, Any] | None:
    if (shares := _shares(group, objectives)) is None:
        return None
    return {
        "query": f"{group.instruction} {group.query}" if group.instruction else group.query,
        "docs": [candidate.text for candidate in group.candidates],
        "labels": [math.log(share + NONE) for share in shares],  # ListNet takes their softmax
    }


def _shares(group: Group, objectives: dict[str, float]) -> list[float] | None:
    """The shares of a group's passages that `contrastive` and `distill` aim at, in the mean by their weights.

    None: neither can learn anything from the group.
    """
    labels = [candidate.label for candidate in group.candidates]
    both = len(set(labels)) == 2
    aims = [(objectives.get("contrastive", 0.0), [label / sum(labels) for label in labels])] if both else []
    if group.candidates[0].teacher is not None and len(labels) > 1:
        odds = [math.exp(SCALE * (candidate.teacher or 0.0)) for candidate in group.candidates]
        aims.append((objectives.get("distill", 0.0), [each / sum(odds) for each in odds]))
    total = sum(weight for weight, _ in aims)
    if not total:  # only objectives that look at one passage at a time: the labels say it all
        return aims[0][1] if both else None
    return [sum(weight * aim[place] for weight, aim in aims) / total for place in range(len(labels))]
