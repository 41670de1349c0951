"""The usual alternative, for comparison: a cross-encoder head on the same base weights, trained on the same rows.

Model, trainer, loss, and files are those of sentence-transformers. ``sentence_transformers.CrossEncoder`` and
``limrank bench suite --system cross-encoder:FOLDER`` load the result.
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
from .mixture import data_hash, mix
from .model import lora_config
from .rows import Group
from .run import SAVE_MEMORY, arguments, base_model, last_checkpoint, uses_teacher
from .run_record import check_settings
from .teacher import teach

SETTINGS = "cross-encoder-settings.json"
TINY_SHARE = 1e-6  # stands for a share of 0, which has no logarithm


def train_cross_encoder(
    path: Path,
    *,
    data: Path | None = None,
    output: Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = True,
) -> Path:
    """Train a cross-encoder head together with a LoRA adapter, and merge the adapter.

    Model, rows, LoRA settings, and ``training`` are those of the configuration; instructions are prepended to the
    query. The loss is ListNet. Its target is the weighted mean of what ``contrastive`` and ``distill`` aim at, so with
    one relevant passage per group it has the same gradient as the two together. Other objectives are ignored.

    Args:
        path: the configuration.
        data: the folder of the sources, instead of ``data.folder``.
        output: the folder for results, instead of ``output``.
        changes: settings that override those of the file (`read_config`).
        resume: continue from the last complete checkpoint in the output folder.

    Returns:
        The cross-encoder's folder.

    Raises:
        InputError: the configuration or the data are wrong, or the checkpoint comes from another run.
    """
    config = read_config(path, data=data, output=output, changes=changes)
    if config.data.layout != "pointwise":
        raise InputError(f"{path}: data.layout: a cross-encoder needs pointwise rows, not {config.data.layout} ones")
    if config.lora.start is not None:
        raise InputError(f"{path}: lora.start: a cross-encoder starts from the base model; remove it")
    weights = locate(base_model(config, path).weights)
    groups = mix(config.data, config.seed)
    objectives = config.objectives.keys() & {"contrastive", "distill"} or {"contrastive"}
    check_learnable(groups, objectives)
    if uses_teacher(config):
        groups = teach(config.data, groups, config.teacher_cache).groups
        check_learnable(groups, objectives, taught=True)
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments, losses
    from transformers import set_seed

    from limrank_ir.engines.out_of_memory import within_memory

    settings = arguments(config, path, CrossEncoderTrainingArguments)
    checkpoint = last_checkpoint(config, resume=resume)
    if settings.process_index == 0:
        check_settings(config, data_hash(groups), SETTINGS)
    set_seed(config.seed)  # head and adapter start from random weights
    model = _model(config, weights)

    class Trainer(CrossEncoderTrainer):
        """Loads checkpoints of an adapter; the original expects the parameter names of a model without one."""

        def _load_from_checkpoint(self, checkpoint_path: str) -> None:
            from peft import load_peft_weights, set_peft_model_state_dict

            set_peft_model_state_dict(model[0].model, load_peft_weights(checkpoint_path, device="cpu"))

    rows = [_row(group, config.objectives) for group in groups]
    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list([row for row in rows if row is not None]),
        loss=losses.ListNetLoss(model, mini_batch_size=-1),  # all pairs of a batch at once
    )
    with within_memory(str(path), SAVE_MEMORY):
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

    # Given a causal model, sentence-transformers would score its label logits, as we do. The comparison is with a
    # classification head, so it gets a classifier.
    start = config.output / "start"
    AutoModelForSequenceClassification.from_pretrained(weights, num_labels=1).save_pretrained(start)
    tokenizer = AutoTokenizer.from_pretrained(weights)
    tokenizer.chat_template = None  # sentence-transformers would put pairs through it, as a conversation
    tokenizer.save_pretrained(start)
    model = CrossEncoder(str(start), max_length=config.data.cutoff, local_files_only=True)
    tokenizer = model.tokenizer
    # By itself, a causal tokenizer joins query and passage into one text and ends on whatever token comes last.
    between, end = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A",
        pair="$A <|endoftext|> $B <|im_start|>",
        special_tokens=[("<|endoftext|>", between), ("<|im_start|>", end)],
    )
    model[0].model = get_peft_model(model[0].model, lora_config(config.lora, model[0].model, task="SEQ_CLS"))
    return model


def _row(group: Group, objectives: dict[str, float]) -> dict[str, Any] | None:
    """A row for ListNet, or None if there is nothing to learn from the group."""
    shares = _shares(group, objectives)
    if shares is None:
        return None
    return {
        "query": f"{group.instruction} {group.query}" if group.instruction else group.query,
        "docs": [candidate.text for candidate in group.candidates],
        "labels": [math.log(share + TINY_SHARE) for share in shares],  # ListNet takes their softmax
    }


def _shares(group: Group, objectives: dict[str, float]) -> list[float] | None:
    """The distribution over a group's passages that `contrastive` and `distill` aim at, averaged by their weights.

    None: neither can learn anything from the group.
    """
    labels = [candidate.label for candidate in group.candidates]
    both = len(set(labels)) == 2
    targets = []
    if both:
        targets.append((objectives.get("contrastive", 0.0), [label / sum(labels) for label in labels]))
    if group.candidates[0].teacher is not None and len(labels) > 1:
        odds = [math.exp(candidate.teacher or 0.0) for candidate in group.candidates]
        targets.append((objectives.get("distill", 0.0), [each / sum(odds) for each in odds]))
    total = sum(weight for weight, _ in targets)
    if not total:  # neither objective is used: learn from the labels
        return targets[0][1] if both else None
    return [sum(weight * target[number] for weight, target in targets) / total for number in range(len(labels))]
