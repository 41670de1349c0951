"""Load weights and adapters completely: every tensor that a model needs, and every tensor of an adapter.

transformers fills missing tensors with random numbers, and PEFT ignores tensors that do not fit; both only warn. Here,
both are errors that name the tensors.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from limrank_ir.engines.memory import out_of_memory
from limrank_ir.errors import InputError
from limrank_ir.formats.checkpoint import check_files
from limrank_ir.formats.files import replacing
from limrank_ir.models import Model
from limrank_ir.weights import identity as identity_of
from limrank_ir.weights import without_bars

BASE_RECORD = "limrank.json"  # in the folder of an adapter that `limrank train` made: {"base": identity of the base}
OVERRIDE = "allow_mismatch=True (--allow-mismatch)"
# What libraries raise for files that are not weights, or that need another package.
UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    EOFError,
    ImportError,
    pickle.UnpicklingError,
    SafetensorError,
)
# Buffers that old checkpoints contain but every model computes itself.
_COMPUTED = re.compile(r"(rotary_emb\.inv_freq|attn\.masked_bias|attn\.bias)$")
_COPIES = re.compile(r"\.(\w+)\.(?:modules_to_save|original_module)\.(?:weight|bias)$")
_SHAPES = re.compile(r"size mismatch for (\S+): .*?torch\.Size\((.*?)\).*?torch\.Size\((.*?)\)", re.DOTALL)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def causal_model(weights: Path, *, allow_mismatch: bool = False, **options: Any) -> Any:
    """Load a causal language model with all its tensors.

    Args:
        weights: its folder.
        allow_mismatch: load it even if the folder contains tensors that this model does not use.
        options: passed to transformers' ``from_pretrained``.

    Returns:
        The model.

    Raises:
        InputError: the folder is not that of a causal language model, files are broken, or tensors are missing or
            unexpected.
    """
    from transformers import AutoModelForCausalLM

    check_model(weights)
    with without_bars(), _no_warnings():
        model, found = AutoModelForCausalLM.from_pretrained(weights, output_loading_info=True, **options)
    if missing := found["missing_keys"]:
        raise InputError(f"{weights}: missing {_tensors(missing)}; download the files again")
    unexpected = {name for name in found["unexpected_keys"] if not _COMPUTED.search(name)}
    if unexpected and not allow_mismatch:
        raise InputError(
            f"{weights}: {type(model).__name__} has no place for {_tensors(unexpected)}; config.json or the weights "
            f"belong to another model; to load it anyway, set {OVERRIDE}"
        )
    return model


def check_model(weights: Path) -> None:
    """Check a folder before its weights are loaded.

    Args:
        weights: the folder of a causal language model.

    Raises:
        InputError: it contains an adapter, a classifier, or broken files.
    """
    check_files(weights)
    if not (weights / "config.json").is_file():
        if (weights / "adapter_config.json").is_file():
            raise InputError(
                f"{weights}: an adapter, not a model; give its base model as the model, and this folder as the adapter"
            )
        raise InputError(f"{weights}: no config.json, so not a model's folder; check the path")
    try:
        kinds = json.loads((weights / "config.json").read_bytes()).get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise InputError(f"{weights / 'config.json'}: not a JSON object ({error}); download the file again") from error
    if kinds and not any("CausalLM" in kind or "ConditionalGeneration" in kind for kind in kinds):
        raise InputError(
            f"{weights}: {kinds[0]}, not a causal language model, so it cannot answer true or false; give a model that "
            "was trained to"
        )


def merged(
    model: Any, adapter: Path, *, vocabulary: int, base: str | None, identity: str | None, allow_mismatch: bool = False
) -> Any:
    """Merge an adapter into its base model, so that it costs nothing at run time. Every tensor must fit.

    Args:
        model: the base model.
        adapter: the adapter's folder.
        vocabulary: the size of the tokenizer's vocabulary. The embeddings grow if they have fewer rows, as in
            LLaMA-Factory (``resize_vocab``).
        base: the base model's hub id, or None if unknown (a folder).
        identity: the base model's identity (`limrank_ir.weights.identity`), or None.
        allow_mismatch: merge it even if it was made for another base model, or if the base has no place for some of
            its tensors.

    Returns:
        The model with the adapter merged into its weights.

    Raises:
        InputError: the adapter is broken, of an unsupported kind, for another base model, or does not fit.
    """
    from peft import PeftConfig, get_peft_model

    check_files(adapter)
    if not (adapter / "adapter_config.json").is_file():
        raise InputError(f"{adapter}: no adapter_config.json, so not a PEFT adapter; check the path")
    try:
        config = PeftConfig.from_pretrained(adapter)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        path = adapter / "adapter_config.json"
        raise InputError(f"{path}: not the settings of a PEFT adapter ({reason(error)}); check the path") from error
    if str(getattr(config.task_type, "value", config.task_type or "CAUSAL_LM")) != "CAUSAL_LM":
        raise InputError(f"{adapter}: an adapter for a {config.task_type} model, not for a causal language model")
    if not allow_mismatch:
        _check_base(adapter, config.base_model_name_or_path, base, identity)
    if vocabulary > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(vocabulary)
    with _no_warnings():
        try:
            adapted = get_peft_model(model, config)
            found = adapted.load_adapter(str(adapter), "default", torch_device="cpu")
        except (TypeError, AttributeError, *UNREADABLE) as error:
            if out_of_memory(error):
                raise
            raise InputError(
                f"{adapter}: does not fit the base model ({reason(error)}); give the base model it was made for"
            ) from error
    unexpected = [name for name in found.unexpected_keys if not _is_copy(name, config)]
    if found.missing_keys:
        also = f", and the base model has no place for {_tensors(unexpected)}" if unexpected else ""
        raise InputError(
            f"{adapter}: missing {_tensors(found.missing_keys)} of its configuration{also}; give the base model it was "
            "made for, or download its files again"
        )
    if unexpected and not allow_mismatch:
        raise InputError(
            f"{adapter}: the base model has no place for {_tensors(unexpected)}; give the base model it was made for, "
            f"or, to merge it anyway, set {OVERRIDE}"
        )
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise InputError(
            f"{adapter}: a {config.peft_type} adapter cannot be merged; use one of LoRA or a related method"
        )
    broken = [name for name, value in adapted.named_parameters() if "default" in name and not value.isfinite().all()]
    if broken:
        raise InputError(
            f"{adapter}: NaN or infinity in {_tensors(broken)}; its training failed, so use an earlier checkpoint"
        )
    return adapted.merge_and_unload()


def _is_copy(name: str, config: Any) -> bool:
    """Whether a tensor is a copy: PEFT saves modules trained in full also under their names in its wrapper."""
    copy = _COPIES.search(name)
    return copy is not None and copy[1] in (getattr(config, "modules_to_save", None) or ())


def record_base(adapter: Path, base: Model) -> None:
    """Record which base model an adapter was trained on, so that it is not used with another one.

    Args:
        adapter: the adapter's folder.
        base: the base model.
    """
    with replacing(adapter / BASE_RECORD) as file:
        file.write(json.dumps({"base": identity_of(base.weights)}, indent=2) + "\n")


def _check_base(adapter: Path, named: str | None, base: str | None, identity: str | None) -> None:
    """Compare the base model that an adapter names with the one given. A folder on another machine says nothing.

    Args:
        adapter: the adapter's folder.
        named: the base model that the adapter's configuration names.
        base: the hub id of the base model given, or None.
        identity: its identity, or None.

    Raises:
        InputError: they are different models.
    """
    record = adapter / BASE_RECORD
    if record.is_file() and identity is not None:
        try:
            recorded = json.loads(record.read_bytes()).get("base")
        except (ValueError, AttributeError) as error:
            raise InputError(f"{record}: not a JSON object; download the file again, or remove it") from error
        if recorded not in (None, identity):
            raise InputError(
                f"{adapter}: trained on other weights ({recorded}) than these ({identity}); give its base model, or, "
                f"to use it anyway, set {OVERRIDE}"
            )
        return
    if base is None or named is None or not _HUB_ID.fullmatch(named):
        return
    if named.rpartition("/")[2].lower() != base.rpartition("/")[2].lower():  # a copy by another owner is fine
        raise InputError(
            f"{adapter}: made for {named}, not for {base}; give {named} as the model, or, to use it anyway, set "
            f"{OVERRIDE}"
        )


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence the libraries' warnings about what is an error here."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _tensors(names: Collection[str]) -> str:
    """Name the first few tensors as in the files, and count the others."""
    shown = sorted(name.removeprefix("base_model.model.").replace(".default.", ".") for name in names)[:3]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"the tensor{'s' if len(names) > 1 else ''} {', '.join(shown)}{more}"


def reason(error: BaseException) -> str:
    """A library's error message in one line."""
    if shapes := _SHAPES.search(str(error)):
        name, found, expected = shapes.groups()
        return f"{_tensors([name])} has shape {found}; expected {expected}"
    return " ".join(str(error).split())[:200] or type(error).__name__
