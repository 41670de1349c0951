"""Load a model with packed attention, its tokenizer, and its label tokens."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limrank_ir.engines import packed
from limrank_ir.engines.adapters import merged
from limrank_ir.engines.base_models import UNREADABLE, causal_model, check_model, reason
from limrank_ir.engines.cpu import can_speed_up, speed_up
from limrank_ir.engines.int8 import can_quantize, quantized
from limrank_ir.engines.out_of_memory import out_of_memory
from limrank_ir.engines.packed import KeyValues, Packing
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.errors import EngineError, InputError
from limrank_ir.prompts import PromptFormat

# The tests compare packed attention with these families' own. Other families are checked when they load.
TESTED_FAMILIES = {"llama", "mistral", "qwen2", "qwen3"}


@dataclass(frozen=True, slots=True)
class LabelScores:
    """The log-probabilities and the logits of labels (`limrank_ir.verdict.Reading`)."""

    logprobs: tuple[float, ...]
    logits: tuple[float, ...]


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to run.

    Attributes:
        model: the causal language model, with its adapter merged.
        tokenizer: encodes prompts.
        fmt: the prompt format.
        ends: ids of the tokens with which the model ends its text.
        int8: the model's decoder with layers in 8 bits (`limrank_ir.engines.int8`), or None.
    """

    model: Any
    tokenizer: PromptTokenizer
    fmt: PromptFormat
    ends: frozenset[int]
    int8: Any = None

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return self.model.device

    @torch.inference_mode()
    def run(self, ids: Sequence[np.ndarray], packing: Packing) -> torch.Tensor:
        """Run a packed batch.

        Args:
            ids: the new token ids of each sequence.
            packing: their layout.

        Returns:
            The last hidden state of each sequence, ``[sequences, hidden size]``.
        """
        return self._run(self.model.get_decoder(), ids, packing)

    @torch.inference_mode()
    def run_int8(
        self, ids: Sequence[np.ndarray], spans: list[tuple[int, int]], prefixes: KeyValues | None
    ) -> tuple[torch.Tensor, Packing]:
        """Run a packed batch in 8 bits, except for the last token of each sequence, where errors count most.

        Args:
            ids: the new token ids of each sequence, at least two.
            spans: as for `Packing`.
            prefixes: as for `Packing`.

        Returns:
            The last hidden state of each sequence, and the layout of the last tokens.
        """
        packing = Packing([len(row) - 1 for row in ids], spans, prefixes, device=self.device, keep=True)
        self._run(self.int8, [row[:-1] for row in ids], packing)
        ends = packing.lengths().cumsum(0).tolist()
        before = list(zip([0, *ends], ends, strict=False))
        last = Packing([1] * len(ids), before, packing.joined(), device=self.device)
        return self.run([row[-1:] for row in ids], last), last

    def _run(self, decoder: Any, ids: Sequence[np.ndarray], packing: Packing) -> torch.Tensor:
        row = torch.from_numpy(np.concatenate(ids).astype(np.int64)).to(self.device)[None]
        out = decoder(input_ids=row, position_ids=packing.positions, use_cache=False, packing=packing)
        return packing.last_of(out.last_hidden_state[0])

    @torch.inference_mode()
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits over the whole vocabulary, ``[sequences, vocabulary]``."""
        return self.model.get_output_embeddings()(hidden)

    @torch.inference_mode()
    def read(
        self, hidden: torch.Tensor, labels: Sequence[int], logits: torch.Tensor | None = None
    ) -> list[LabelScores]:
        """Read label tokens: their logits, and their log-probabilities over the whole vocabulary.

        The labels' logits are computed in float32, so that a difference of two log-probabilities, from which the
        normalizer cancels, is as exact as it can be in every precision of the model.

        Args:
            hidden: ``[sequences, hidden size]``.
            labels: the label tokens.
            logits: what `logits` gives for `hidden`, if it is at hand.

        Returns:
            What each sequence says of the labels.
        """
        head = self.model.get_output_embeddings()
        chosen = list(labels)
        bias = None if head.bias is None else head.bias[chosen].float()
        wanted = torch.nn.functional.linear(hidden.float(), head.weight[chosen].float(), bias).double()
        everything = self.logits(hidden) if logits is None else logits
        normalizer = everything.float().logsumexp(dim=-1, keepdim=True).double()
        return [
            LabelScores(tuple(logprobs), tuple(logits))
            for logprobs, logits in zip((wanted - normalizer).tolist(), wanted.tolist(), strict=True)
        ]

    def key_value_bytes(self) -> int:
        """The size in bytes of one token's keys and values, over all layers."""
        config = self.model.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * heads * size * self.model.dtype.itemsize


def load(
    weights: Path,
    adapter: Path | None,
    fmt: PromptFormat,
    device: torch.device,
    dtype: torch.dtype,
    *,
    int8: bool = False,
    base: str | None = None,
    identity: str | None = None,
    allow_mismatch: bool = False,
) -> Loaded:
    """Load a model from local folders.

    Args:
        weights: the folder of a transformers causal language model.
        adapter: the folder of a PEFT adapter to merge into the weights, or None.
        fmt: the prompt format.
        device: the device to run on.
        dtype: precision.
        int8: also make a decoder with layers in 8 bits; the rest stays in `dtype`, which is float32.
        base: the hub id of the weights, or None.
        identity: their identity (`limrank_ir.weights.identity`), or None.
        allow_mismatch: see `limrank_ir.engines.base_models` and `adapters`.

    Returns:
        The model, ready to run.

    Raises:
        InputError: a file is missing or broken, tensors are missing or unexpected, or the local engine does not
            support this family.
        EngineError: memory runs out.
    """
    from transformers import AutoConfig, AutoTokenizer

    packed.register()
    # Without this, the garbage collector walks all objects of torch and transformers at exit, which takes a second.
    atexit.register(gc.freeze)
    faster, in_int8 = device.type == "cpu" and can_speed_up(dtype), None
    try:
        check_model(weights)
        # trust_remote_code stays off: weights are data and must not run code.
        tokenizer = AutoTokenizer.from_pretrained(adapter if _has_tokenizer(adapter) else weights)
        config = AutoConfig.from_pretrained(weights)
        faster = faster and config.model_type in TESTED_FAMILIES
        if int8 and not (faster and can_quantize(config)):
            raise InputError(
                "dtype='int8' needs an x86 CPU with AVX2 and a model of one of the families "
                f"{', '.join(sorted(TESTED_FAMILIES))}; choose dtype='float32'"
            )
        model = causal_model(
            weights,
            allow_mismatch=allow_mismatch,
            dtype=torch.float32 if faster else dtype,  # `speed_up` starts from float32
            attn_implementation=packed.NAME,
        )
        if adapter is not None:
            model = merged(
                model,
                adapter,
                vocabulary=len(tokenizer),
                base=base,
                identity=identity,
                allow_mismatch=allow_mismatch,
            )
    except UNREADABLE as error:
        if out_of_memory(error):
            raise EngineError(f"{weights}: not enough memory to load it as {dtype}; choose a smaller model") from error
        raise InputError(
            f"{adapter or weights}: cannot be loaded as a causal language model ({reason(error)})"
        ) from error
    model = model.to(device).eval().requires_grad_(False)
    if model.config.model_type not in TESTED_FAMILIES:
        _check_family(model)
    elif faster:
        in_int8 = quantized(model) if int8 else None  # from the layers of float32
        speed_up(model, dtype)
    return Loaded(model, PromptTokenizer(tokenizer, fmt), fmt, _end_ids(model, tokenizer), in_int8)


def _has_tokenizer(adapter: Path | None) -> bool:
    return adapter is not None and (adapter / "tokenizer.json").exists()


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    ids = {ends} if isinstance(ends, int) else set(ends or [])
    return frozenset(ids | {tokenizer.eos_token_id} - {None})


@torch.inference_mode()
def _check_family(model: Any) -> None:
    """Compare packed attention with the model's own, so that a family with other attention rules gets no wrong scores.

    Raises:
        InputError: they differ.
    """
    ids = np.arange(10, 34) % model.config.vocab_size
    try:
        prefix = Packing([8], device=model.device, keep=True)
        decoder = model.get_decoder()
        row = torch.from_numpy(ids)[None].to(model.device)
        decoder(input_ids=row[:, :8], position_ids=prefix.positions, use_cache=False, packing=prefix)
        rest = Packing([16], [(0, 8)], prefix.kept, device=model.device)
        ours = decoder(input_ids=row[:, 8:], position_ids=rest.positions, use_cache=False, packing=rest)
        model.set_attn_implementation("eager")
        theirs = decoder(input_ids=row, use_cache=False).last_hidden_state[:, 8:]
        model.set_attn_implementation(packed.NAME)
        gap = (ours.last_hidden_state - theirs).abs().max() / theirs.abs().max()
        agree = bool(gap < (1e-4 if model.dtype == torch.float32 else 5e-2))
    except (TypeError, AttributeError, ValueError, KeyError, RuntimeError):
        agree = False
    if not agree:
        raise InputError(
            f"the local engine does not support models of the family {model.config.model_type!r}; "
            f"supported families: {', '.join(sorted(TESTED_FAMILIES))}"
        )
