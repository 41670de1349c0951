"""What is measured: the same weights and the same prompts, run by transformers, sentence-transformers, and LimRank."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import transformers
from peft import PeftModel

from limrank_ir.engines import Engine
from limrank_ir.engines.formats import model_format
from limrank_ir.engines.local import LocalEngine
from limrank_ir.errors import InputError
from limrank_ir.models import Model
from limrank_ir.prompts import PromptFormat
from limrank_ir.verdict import Verdict
from limrank_ir.weights import locate, without_bars

PLAIN, CROSS_ENCODER, OURS, LIMIT = "plain", "cross-encoder", "ours", "limit"
PLAIN_BATCH = 16
MARK = "\ue000query\ue001"

Run: TypeAlias = Callable[[str, Sequence[str]], np.ndarray]
"""Takes a query and passages, returns log-odds."""


@dataclass(frozen=True)
class Contender:
    """A way to run the model.

    Attributes:
        kind: `PLAIN`, `CROSS_ENCODER`, `OURS`, or the name of another engine (``vllm``, a URL).
        precision: ``"float32"``, ``"bfloat16"``, ``"float16"``, ``"int8"``, or "" if it is not ours to choose.
        run: scores passages.
        shares: whether it reads the query once for all passages, so that its rate depends on how many there are.
    """

    kind: str
    precision: str
    run: Run
    shares: bool

    @property
    def name(self) -> str:
        """Kind and precision."""
        return f"{self.kind} {self.precision}".strip()


def readable_format(model: Model) -> PromptFormat:
    """The model's prompt format, if all contenders can read it.

    Args:
        model: the model.

    Returns:
        Its prompt format.

    Raises:
        InputError: the model is no causal model with two labels at one place.
    """
    fmt = model_format(model)
    if fmt.two_reads is not None or fmt.grades is not None or len(fmt.labels) != 2:
        raise InputError(
            f"--model {model.name}: bench speed compares models that answer with one of two labels, such as true and "
            f"false; the format {fmt.name!r} is read in another way"
        )
    return fmt


def plain_model(model: Model, device: torch.device, dtype: torch.dtype) -> Any:
    """The model as transformers and PEFT load it, with its adapter merged."""
    with without_bars():
        loaded = transformers.AutoModelForCausalLM.from_pretrained(locate(model.weights), dtype=dtype)
    loaded = loaded.to(device).eval()
    if model.adapter is not None:
        loaded = PeftModel.from_pretrained(loaded, locate(model.adapter)).merge_and_unload()
    return loaded.requires_grad_(False)


def plain_loop(model: Any, tokenizer: Any, fmt: PromptFormat, labels: tuple[int, int]) -> Run:
    """What a careful user writes with transformers alone: padded batches, logits of the last position only."""

    def run(query: str, texts: Sequence[str]) -> np.ndarray:
        prompts = [fmt.render(query, text).text for text in texts]
        scores: list[float] = []
        for start in range(0, len(prompts), PLAIN_BATCH):
            batch = tokenizer(prompts[start : start + PLAIN_BATCH], padding=True, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                last = model(**batch, logits_to_keep=1).logits[:, -1].double()
            scores += (last[:, labels[0]] - last[:, labels[1]]).tolist()
        return np.array(scores)

    return run


def cross_encoder(model: Any, folder: Path, fmt: PromptFormat, labels: tuple[int, int]) -> Run:
    """sentence-transformers' CrossEncoder on the same weights: a LogitScore, sorted by length, its own batches of 32.

    Args:
        model: the causal model, which is not copied.
        folder: its tokenizer.
        fmt: the prompt format, which becomes a chat template.
        labels: the labels' token ids, the positive one first.

    Returns:
        What runs it.
    """
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    with without_bars():
        module = Transformer(str(folder), transformer_task="text-generation", model_kwargs={"device_map": "meta"})
    module.model = model  # instead of the one without weights
    module.tokenizer.chat_template = chat_template(module.tokenizer, fmt)
    encoder = CrossEncoder(modules=[module, LogitScore(*labels)], device=str(model.device))

    def run(query: str, texts: Sequence[str]) -> np.ndarray:
        pairs = [(query, text) for text in texts]
        return encoder.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False).astype(np.float64)

    return run


def chat_template(tokenizer: Any, fmt: PromptFormat) -> str:
    """A prompt format as a chat template with the roles query and document, as sentence-transformers reads it."""
    prompt = fmt.render(MARK, "")
    start = tokenizer.decode(tokenizer("")["input_ids"]) if fmt.start else ""
    collect = (
        "{%- set ns = namespace(query='', document='') %}{%- for m in messages %}{%- if m.role == 'query' %}"
        "{%- set ns.query = m.content %}{%- elif m.role == 'document' %}{%- set ns.document = m.content %}"
        "{%- endif %}{%- endfor %}"
    )
    before, after = (_literals(text) for text in (start + prompt.prefix, prompt.suffix))
    return f"{collect}{before}{{{{ ns.document }}}}{after}"


def _literals(text: str) -> str:
    """A text in a template, with the query in place of its mark."""
    return "{{ ns.query }}".join(f"{{{{ {json.dumps(part, ensure_ascii=False)} }}}}" for part in text.split(MARK))


def by_engine(engine: Engine, fmt: PromptFormat) -> Run:
    """One of LimRank-IR's engines."""

    def run(query: str, texts: Sequence[str]) -> np.ndarray:
        prompts = [fmt.render(query, text) for text in texts]
        scores = np.zeros(len(prompts))
        for batch in engine.read_labels(prompts, fmt.labels, think=False, budget=1):
            for index, reading in batch:
                scores[index] = Verdict.of(reading).log_odds
        return scores

    return run


def label_ids(engine: LocalEngine, fmt: PromptFormat) -> tuple[int, int]:
    """The token ids of the positive and the negative label."""
    positive, negative = engine._loaded.tokenizer.label_tokens(fmt.labels, fmt.render("query", "passage").ending)
    return positive, negative
