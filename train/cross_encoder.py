"""The usual alternative, for comparison: a cross-encoder head on the same base weights, trained on the same rows.

All of it is sentence-transformers' own: its model, trainer, loss and files. The result opens in
``sentence_transformers.CrossEncoder`` and in ``limrank bench suite --system cross-encoder:FOLDER``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limrank_ir.errors import LimRankError
from limrank_ir.weights import locate

from .config import Config, read_config
from .mixture import mix
from .model import lora_config
from .rows import Group
from .run import arguments, base_model, last_checkpoint

# With this label for the relevant passage ListNet aims at a one-hot softmax, as `objectives.contrastive` does.
RELEVANT = 10.0


def train_cross_encoder(
    path: Path, *, data: Path | None = None, output: Path | None = None, resume: bool = True
) -> Path:
    """Train a cross-encoder head and a LoRA adapter below it, and merge them.

    Model, rows, LoRA settings and ``training`` are those of the configuration; instructions stand in front of the
    query, the loss is ListNet (the objectives do not count).

    Args:
        path: the configuration.
        data: where the sources are, instead of ``data.folder``.
        output: where results go, instead of ``output``.
        resume: go on from the last whole checkpoint in the output folder.

    Returns:
        The cross-encoder's folder.

    Raises:
        LimRankError: the configuration or the data are wrong.
    """
    config = read_config(path, data=data, output=output)
    if config.data.layout != "pointwise":
        raise LimRankError(f"{path}: data.layout: a cross-encoder is trained on pointwise rows")
    weights = locate(base_model(config, path).weights)
    groups = mix(config.data, config.seed)
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments, losses
    from transformers import set_seed

    settings = arguments(config, path, CrossEncoderTrainingArguments)
    checkpoint = last_checkpoint(config, resume=resume)
    set_seed(config.seed)  # head and adapter are drawn
    model = _model(config, weights)
    trainer = CrossEncoderTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list([_row(group) for group in groups]),
        loss=losses.ListNetLoss(model),
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model[0].model = model[0].model.merge_and_unload()
    folder = config.output / "cross-encoder"
    model.save_pretrained(str(folder))
    return folder


def _model(config: Config, weights: Path) -> Any:
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


def _row(group: Group) -> dict[str, Any]:
    return {
        "query": f"{group.instruction} {group.query}" if group.instruction else group.query,
        "docs": [candidate.text for candidate in group.candidates],
        "labels": [RELEVANT * candidate.label for candidate in group.candidates],
    }
