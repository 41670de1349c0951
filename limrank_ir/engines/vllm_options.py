"""The settings of vLLM: its environment, which options a user may set, and which change a reading."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from limrank_ir.errors import InputError

# Set before vLLM is imported, unless the user has set them.
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: a second one would need a guard in the user's script
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # by one token, which no one reads
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
MERGE = "merge_adapter"
"""Our own option: whether to merge the adapter into a copy of the weights, in the cache."""

_REPLICAS = (
    "vLLM has no replicas in one process; start a `vllm serve` for each (or one with --data-parallel-size), and give "
    "the URLs as the engine"
)
REFUSED = {
    "model": "the model is chosen by name",
    "tokenizer": "it belongs to the model",
    "tokenizer_mode": "text is turned into tokens here",
    "skip_tokenizer_init": "the end of a thought is found in its text",
    "runner": "labels are read from a generating model",
    "convert": "labels are read from a generating model",
    "dtype": "use the option dtype (--dtype)",
    "max_model_len": "use the option max_length (--max-length)",
    "logprobs_mode": "the prompt format decides it",
    "enable_lora": "use the option adapter (--adapter)",
    "trust_remote_code": "weights are data and must not run code",
    # Log-probabilities under speculative decoding: github vllm-project/vllm issue 34497.
    "speculative_config": "label probabilities need plain decoding",
    "spec_method": "label probabilities need plain decoding",
    "spec_model": "label probabilities need plain decoding",
    "spec_tokens": "label probabilities need plain decoding",
}
# What concerns memory, speed, and access alone. All other options are a part of the engine's identity.
INDIFFERENT = frozenset(
    {
        *("gpu_memory_utilization", "kv_cache_memory_bytes", "cpu_offload_gb", "num_gpu_blocks_override", "block_size"),
        *("tensor_parallel_size", "pipeline_parallel_size", "distributed_executor_backend", "device_ids"),
        *("max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching"),
        *("enforce_eager", "compilation_config", "cudagraph_capture_sizes", "async_scheduling", "scheduling_policy"),
        *("disable_custom_all_reduce", "load_format", "download_dir", "max_parallel_loading_workers", "hf_token"),
        *("disable_log_stats", "use_tqdm_on_load", "log_level", "max_loras", "max_cpu_loras", "max_lora_rank"),
    }
)
CPU_KEY_VALUE_BYTES = 4 << 30  # vLLM would take most of the memory


def quiet() -> None:
    """Keep vLLM's log and the warnings of its code out of the user's terminal, before it is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if os.environ["VLLM_LOGGING_LEVEL"] == ENVIRONMENT["VLLM_LOGGING_LEVEL"]:
        logging.getLogger("vllm").setLevel(logging.ERROR)  # it logs before it reads its own setting
    warnings.filterwarnings("ignore", module=r"vllm\.")


def check_options(options: Mapping[str, Any]) -> None:
    """Check the names of a user's options.

    Args:
        options: options of vLLM's ``EngineArgs``, and `MERGE`.

    Raises:
        InputError: vLLM does not have an option, or it must not be set here.
    """
    if not options:  # importing vLLM takes seconds
        return
    from dataclasses import fields

    from vllm import EngineArgs

    known = {field.name for field in fields(EngineArgs) if not field.name.startswith("_")}
    for name, value in options.items():
        if name.startswith("data_parallel") and not (name == "data_parallel_size" and value == 1):
            raise InputError(f"engine option {name!r}: {_REPLICAS}")
        if name in REFUSED:
            raise InputError(f"engine option {name!r} cannot be set: {REFUSED[name]}")
        if name not in known and name != MERGE:
            near = get_close_matches(name, [*known - set(REFUSED), MERGE], 1)
            advice = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"unknown engine option {name!r}: vLLM does not have it{advice}")


def changes(options: Mapping[str, Any]) -> str:
    """The options that can change a reading, for the engine's identity: JSON, or "" if there are none."""
    chosen = {name: value for name, value in options.items() if name not in INDIFFERENT}
    return json.dumps(chosen, sort_keys=True, default=repr) if chosen else ""


def with_defaults(options: Mapping[str, Any], *, cpu: bool, half: bool) -> dict[str, Any]:
    """A user's options, and this engine's defaults for the others.

    Args:
        options: the user's, without `MERGE`.
        cpu: whether vLLM runs on a CPU.
        half: whether the model's precision is less than float32.

    Returns:
        Options for ``EngineArgs``.
    """
    settings: dict[str, Any] = {
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",  # for forced ends of thoughts
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if cpu:
        settings["enforce_eager"] = True  # else compiling takes a minute at every start
        if "gpu_memory_utilization" not in options and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
            settings["kv_cache_memory_bytes"] = CPU_KEY_VALUE_BYTES
    if half:
        # Logits of 20 are 0.125 apart in bfloat16, so that many passages would tie. float32 costs next to nothing.
        overrides = options.get("hf_overrides")
        if overrides is None or isinstance(overrides, Mapping):
            settings["hf_overrides"] = {"head_dtype": "float32", **(overrides or {})}
            options = {name: value for name, value in options.items() if name != "hf_overrides"}
    return {**settings, **options}
