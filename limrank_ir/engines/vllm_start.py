"""Start vLLM in this process, with the same checks of weights and adapters as the local engine's."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.engines.adapters import BASE_RECORD, adapter_config, check_base, fitted, merged
from limrank_ir.engines.base_models import UNREADABLE, causal_model, check_model, reason
from limrank_ir.engines.out_of_memory import out_of_memory
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.engines.vllm_options import MERGE, with_defaults
from limrank_ir.engines.vllm_requests import refusals
from limrank_ir.errors import EngineError, InputError, LimRankError
from limrank_ir.models import Model
from limrank_ir.prompts import PromptFormat
from limrank_ir.weights import cache_folder, identity, locate, without_bars

log = logging.getLogger("limrank_ir")

# Settings of LoRA that vLLM follows. An adapter with any other one is merged into the weights instead.
FOLLOWED = frozenset(
    {
        *("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules"),
        *("layers_to_transform", "layers_pattern", "base_model_name_or_path", "revision", "task_type", "peft_type"),
        *("inference_mode", "auto_mapping", "peft_version", "megatron_core", "qalora_group_size"),
    }
)
EMBEDDINGS = {"embed_tokens", "lm_head"}


@dataclass(frozen=True)
class Started:
    """vLLM with a model, ready for prompts.

    Attributes:
        engine: vLLM's ``LLMEngine``.
        tokenizer: encodes prompts.
        fmt: the prompt format.
        raw: whether vLLM gives raw logits instead of log-probabilities.
        adapter: vLLM's ``LoRARequest``, or None if there is no adapter or it is merged.
    """

    engine: Any
    tokenizer: PromptTokenizer
    fmt: PromptFormat
    raw: bool
    adapter: Any


def start(
    model: Model,
    fmt: PromptFormat,
    *,
    dtype: str,
    max_length: int,
    allow_mismatch: bool,
    options: Mapping[str, Any],
) -> Started:
    """Start vLLM.

    Args:
        model: the model.
        fmt: its prompt format. With one label, vLLM gives raw logits, of which the score is one.
        dtype: precision.
        max_length: the maximum number of tokens in a prompt with its thought.
        allow_mismatch: see `limrank_ir.engines.base_models` and `adapters`.
        options: the user's options (`limrank_ir.engines.vllm_options`).

    Returns:
        vLLM, ready for prompts.

    Raises:
        InputError: files are missing or broken, tensors are missing or unexpected, or vLLM does not accept the model or
            an option.
        EngineError: this CPU is too old, or memory runs out.
    """
    from vllm import EngineArgs, LLMEngine
    from vllm.lora.request import LoRARequest
    from vllm.platforms import current_platform

    raw = len(fmt.labels) == 1
    cpu = current_platform.is_cpu()
    if cpu:
        _check_cpu()
    given = {name: value for name, value in options.items() if name != MERGE}
    with _one_line(model):
        # On a CPU, an adapter beside the weights takes several times as long as one in them.
        merge = bool(options.get(MERGE, cpu))
        folder, adapter = _weights(model, dtype, merge=merge, allow_mismatch=allow_mismatch)
        tokenizer_folder = _tokenizer_folder(model)
        settings = {
            **with_defaults(given, cpu=cpu, half=dtype != "float32"),
            "model": str(folder),
            "tokenizer": str(tokenizer_folder),
            "dtype": dtype,
            "logprobs_mode": "raw_logits" if raw else "raw_logprobs",
        }
        if adapter is not None:
            settings |= {"enable_lora": True, "max_lora_rank": _rank_limit(adapter)}
        # One more than the longest prompt, whose next token vLLM must be able to generate.
        engine = LLMEngine.from_engine_args(EngineArgs(**settings, max_model_len=max_length + 1))
        from transformers import AutoTokenizer

        tokenizer = PromptTokenizer(AutoTokenizer.from_pretrained(tokenizer_folder), fmt)
    lora = None if adapter is None else LoRARequest("adapter", 1, str(adapter))
    return Started(engine, tokenizer, fmt, raw, lora)


def _tokenizer_folder(model: Model) -> Path:
    """The folder of the tokenizer: the adapter's, if it brings one."""
    if model.adapter is not None and (locate(model.adapter) / "tokenizer.json").exists():
        return locate(model.adapter)
    return locate(model.weights)


def _weights(model: Model, dtype: str, *, merge: bool, allow_mismatch: bool) -> tuple[Path, Path | None]:
    """Check weights and adapter without loading the weights.

    Returns:
        The folder of the weights, into which the adapter may be merged, and of the adapter if it is not.
    """
    from transformers import AutoConfig, AutoTokenizer

    weights = locate(model.weights)
    check_model(weights)
    if getattr(AutoConfig.from_pretrained(weights), "quantization_config", None) is not None:
        # transformers would need the packages that unpack the weights. vLLM checks their names, too.
        return weights, None if model.adapter is None else _beside_quantized(model, allow_mismatch=allow_mismatch)
    base = causal_model(weights, allow_mismatch=allow_mismatch, device_map="meta")
    if model.adapter is None:
        return weights, None
    adapter = locate(model.adapter)
    vocabulary = len(AutoTokenizer.from_pretrained(_tokenizer_folder(model)))
    larger = vocabulary > base.get_input_embeddings().num_embeddings
    if merge or larger or not _followed(adapter_config(adapter)):
        return _merged_folder(model, dtype, vocabulary, allow_mismatch=allow_mismatch), None
    fitted(
        base,
        adapter,
        vocabulary=vocabulary,
        base=model.base,
        identity=identity(model.weights),
        allow_mismatch=allow_mismatch,
    )
    return weights, adapter


def _beside_quantized(model: Model, *, allow_mismatch: bool) -> Path:
    """The adapter of quantized weights, into which it cannot be merged.

    Raises:
        InputError: vLLM does not follow its settings, or it was made for another base model.
    """
    assert model.adapter is not None
    adapter = locate(model.adapter)
    config = adapter_config(adapter)
    if not _followed(config):
        raise InputError(
            f"{adapter}: vLLM does not follow all its settings; merge it into weights that are not quantized"
        )
    if not allow_mismatch:
        check_base(adapter, config.base_model_name_or_path, model.base, identity(model.weights))
    return adapter


def _followed(config: Any) -> bool:
    """Whether vLLM follows all settings of an adapter."""
    from dataclasses import fields

    from peft import LoraConfig

    if type(config) is not LoraConfig or not isinstance(config.init_lora_weights, bool):
        return False  # other initializations may change the base weights
    targets = config.target_modules
    if not isinstance(targets, set | list) or EMBEDDINGS & set(targets):
        return False
    plain = LoraConfig()
    changed = {
        field.name
        for field in fields(plain)
        if (getattr(config, field.name) or None) != (getattr(plain, field.name) or None)
    }
    return config.r <= _ranks()[-1] and not changed - FOLLOWED - {"init_lora_weights"}


def _ranks() -> list[int]:
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    return sorted(get_args(MaxLoRARanks))


def _rank_limit(adapter: Path) -> int:
    """The smallest limit on ranks, of those that vLLM knows, that this adapter keeps."""
    return next(rank for rank in _ranks() if rank >= adapter_config(adapter).r)


def _merged_folder(model: Model, dtype: str, vocabulary: int, *, allow_mismatch: bool) -> Path:
    """The weights with the adapter merged, as a folder in the cache, made on first use."""
    import torch
    from filelock import FileLock
    from transformers import AutoTokenizer

    assert model.adapter is not None
    record = locate(model.adapter) / BASE_RECORD
    parts = [
        identity(model.weights),
        identity(model.adapter),
        dtype,
        # What the checks look at, so that what is in the cache has passed them.
        str(model.base),
        str(adapter_config(locate(model.adapter)).base_model_name_or_path),
        record.read_text(encoding="utf-8") if record.is_file() else "",
        str(allow_mismatch),
    ]
    folder = cache_folder() / f"merged-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if (folder / "config.json").exists():
                return folder
            log.warning("merging the adapter of %s into its weights (once) in %s", model.name, folder)
            whole = merged(
                causal_model(locate(model.weights), allow_mismatch=allow_mismatch, dtype=getattr(torch, dtype)),
                locate(model.adapter),
                vocabulary=vocabulary,
                base=model.base,
                identity=identity(model.weights),
                allow_mismatch=allow_mismatch,
            )
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                with without_bars():
                    whole.save_pretrained(temporary)
                AutoTokenizer.from_pretrained(_tokenizer_folder(model)).save_pretrained(temporary)
                temporary.replace(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is None:
            raise
        raise EngineError(
            f"{folder.parent}: cannot save the merged weights here ({error.strerror or error}); set LIMRANK_CACHE to a "
            "folder with room for a copy of the model"
        ) from error
    return folder


def _check_cpu() -> None:
    """Refuse a CPU on which vLLM would end the process.

    Raises:
        EngineError: it is too old.
    """
    import torch

    level = torch.backends.cpu.get_cpu_capability()
    if platform.machine() in ("x86_64", "AMD64") and not level.startswith("AVX"):
        raise EngineError(f"vLLM needs a CPU with AVX2, and this one has none ({level}); use engine='local'")


@contextmanager
def _one_line(model: Model) -> Iterator[None]:
    """Turn what goes wrong when vLLM starts into an error of one line."""
    try:
        yield
    except LimRankError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise EngineError(
                f"{model.name}: vLLM runs out of memory; lower max_length, or use a smaller model"
            ) from error
        why = reason(error)
        if errors := getattr(error, "errors", None):  # pydantic's
            why = "; ".join(str(each["msg"]) for each in errors())[:400]
        if isinstance(error, (*UNREADABLE, *refusals(), TypeError, AssertionError, NotImplementedError)):
            raise InputError(f"{model.name}: vLLM cannot run it with these options ({why})") from error
        raise EngineError(f"{model.name}: vLLM does not start ({why})") from error
