"""Tiny random cross-encoders of several families, with the tokenizers that those families have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_labels": 1,
    "max_position_embeddings": 300,
}
NAMES = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
TEXT = "the quick brown fox, jumps! over a lazy dog? [SEP] </s> [MASK] copy file number 0 1 2 3 4 5 6 7 8 9 word"


def make(folder: Path, family: str, *, std: float = 0.2, **settings: Any) -> Path:
    """Save a random cross-encoder of a family.

    The head is random, too, and the weights are so large that scores differ between texts, positions, and windows.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    tokenizer = _tokenizer("roberta" if family in ("roberta", "xlm-roberta") else "bert", family)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    special |= {"bos_token_id": special["cls_token_id"], "eos_token_id": special["sep_token_id"]}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SIZES, "vocab_size": len(tokenizer), **special, **settings})
    model = AutoModelForSequenceClassification.from_config(config).float()
    for parameter in model.parameters():
        if parameter.ndim > 1:  # norms stay as they are: small weights there would wipe out what the text says
            torch.nn.init.normal_(parameter, std=std)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(kind: str, family: str) -> Any:
    """A word-piece tokenizer with BERT's layout, or a byte-level one with RoBERTa's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    names = NAMES[kind]
    if kind == "bert":
        pad, unknown, first, last, mask = names
        backend = Tokenizer(models.WordPiece(unk_token=unknown))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(special_tokens=list(names), vocab_size=400)
    else:
        first, pad, last, unknown, mask = names
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(special_tokens=list(names), vocab_size=400, initial_alphabet=alphabet)
    backend.train_from_iterator([TEXT] * 3, trainer)
    ends = {name: backend.token_to_id(name) for name in (first, last)}
    if kind == "bert":
        backend.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}", pair=f"{first} $A {last} $B:1 {last}:1", special_tokens=list(ends.items())
        )
    else:
        backend.post_processor = processors.RobertaProcessing((last, ends[last]), (first, ends[first]))
    # As in the files of some checkpoints: nobody who scores pairs wants these.
    backend.enable_truncation(16)
    backend.enable_padding(length=16, pad_token=pad, pad_id=backend.token_to_id(pad))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        unk_token=unknown,
        cls_token=first,
        sep_token=last,
        mask_token=mask,
        model_max_length=300 if kind == "bert" else 298,
        model_input_names=["input_ids", *(["token_type_ids"] if family == "bert" else []), "attention_mask"],
    )
