"""Tiny random models, for tests that do not need a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "vocab_size": 49155,  # room for two added thinking tags
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def make(
    folder: Path, tokenizer_folder: Path, family: str = "llama", *, seed: int = 0, std: float = 0.15, **settings: Any
) -> Path:
    """Save a random model of a family, with the default model's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **{**SIZES, **settings})
    model = AutoModelForCausalLM.from_config(config).float()
    for parameter in model.parameters():  # large enough for attention and positions to matter
        torch.nn.init.normal_(parameter, std=std)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    return folder


def teach(folder: Path, answers: dict[str, str], steps: int = 100) -> None:
    """Make a tiny model memorize the answer to each prompt."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    rows = []
    for prompt, answer in answers.items():
        start, end = tokenizer(prompt).input_ids, tokenizer(answer).input_ids
        rows.append((torch.tensor([start + end]), torch.tensor([[-100] * len(start) + end])))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = sum(model(ids, labels=labels).loss for ids, labels in rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
