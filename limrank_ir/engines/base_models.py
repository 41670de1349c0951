"""Load base models completely: every tensor that a model needs.

transformers fills missing tensors with random numbers and only warns. Here, that is an error that names the tensors.
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

from limrank_ir.errors import InputError
from limrank_ir.formats.checkpoint import check_files
from limrank_ir.weights import without_bars

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
_COMPUTED = re.compile(r"(rotary_emb\.inv_freq|attn\.masked_bias|attn\.bias|embeddings\.position_ids)$")
_SHAPES = re.compile(r"size mismatch for (\S+): .*?torch\.Size\((.*?)\).*?torch\.Size\((.*?)\)", re.DOTALL)


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
    return _complete(AutoModelForCausalLM, weights, allow_mismatch=allow_mismatch, **options)


def classifier_model(weights: Path, *, allow_mismatch: bool = False, **options: Any) -> Any:
    """Load a sequence classifier with one label and all its tensors.

    Args:
        weights: its folder.
        allow_mismatch: load it even if the folder contains tensors that this model does not use.
        options: passed to transformers' ``from_pretrained``.

    Returns:
        The model.

    Raises:
        InputError: the folder is not that of such a classifier, files are broken, or tensors are missing or unexpected.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    kinds = _architectures(weights)
    if kinds and not any("SequenceClassification" in kind for kind in kinds):
        raise InputError(
            f"{weights}: {kinds[0]}, not a sequence classifier, so it is no cross-encoder; give another model or "
            "another prompt format"
        )
    labels = AutoConfig.from_pretrained(weights).num_labels
    if labels != 1:
        raise InputError(f"{weights}: a classifier with {labels} labels; a cross-encoder has one, which is its score")
    return _complete(AutoModelForSequenceClassification, weights, allow_mismatch=allow_mismatch, **options)


def _complete(family: Any, weights: Path, *, allow_mismatch: bool, **options: Any) -> Any:
    """Load a model, and refuse one for which tensors are missing or left over."""
    with without_bars(), no_warnings():
        model, found = family.from_pretrained(weights, output_loading_info=True, **options)
    if missing := found["missing_keys"]:
        raise InputError(f"{weights}: missing {tensor_names(missing)}; download the files again")
    unexpected = {name for name in found["unexpected_keys"] if not _COMPUTED.search(name)}
    if unexpected and not allow_mismatch:
        raise InputError(
            f"{weights}: {type(model).__name__} has no place for {tensor_names(unexpected)}; config.json or the "
            f"weights belong to another model; to load it anyway, set {OVERRIDE}"
        )
    return model


def check_model(weights: Path) -> None:
    """Check a folder before its weights are loaded.

    Args:
        weights: the folder of a causal language model.

    Raises:
        InputError: it contains an adapter, a classifier, or broken files.
    """
    kinds = _architectures(weights)
    if kinds and not any("CausalLM" in kind or "ConditionalGeneration" in kind for kind in kinds):
        raise InputError(
            f"{weights}: {kinds[0]}, not a causal language model, so it cannot answer true or false; give a model that "
            "was trained to"
        )


def _architectures(weights: Path) -> list[str]:
    """Check a folder's files, and read which models they are for."""
    check_files(weights)
    if not (weights / "config.json").is_file():
        if (weights / "adapter_config.json").is_file():
            raise InputError(
                f"{weights}: an adapter, not a model; give its base model as the model, and this folder as the adapter"
            )
        raise InputError(f"{weights}: no config.json, so not a model's folder; check the path")
    try:
        return json.loads((weights / "config.json").read_bytes()).get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise InputError(f"{weights / 'config.json'}: not a JSON object ({error}); download the file again") from error


@contextmanager
def no_warnings() -> Iterator[None]:
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


def tensor_names(names: Collection[str]) -> str:
    """Name the first few tensors as in the files, and count the others."""
    shown = sorted(name.removeprefix("base_model.model.").replace(".default.", ".") for name in names)[:3]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"the tensor{'s' if len(names) > 1 else ''} {', '.join(shown)}{more}"


def reason(error: BaseException) -> str:
    """A library's error message in one line."""
    if shapes := _SHAPES.search(str(error)):
        name, found, expected = shapes.groups()
        return f"{tensor_names([name])} has shape {found}; expected {expected}"
    return " ".join(str(error).split())[:200] or type(error).__name__
