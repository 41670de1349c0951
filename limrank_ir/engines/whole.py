"""Loading weights and adapters whole: every tensor that a model needs, every tensor that an adapter has.

transformers fills what a checkpoint lacks with random numbers, and PEFT leaves out what does not fit; both only warn.
Here either is an error that names the tensors.
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

BASE_RECORD = "limrank.json"  # beside an adapter that `limrank train` made: {"base": what the base is named by}
OVERRIDE = "allow_mismatch=True (--allow-mismatch)"
# What libraries raise over files that are no weights, or are of a kind that needs a package more.
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
# Buffers that old checkpoints hold and that every model computes by itself.
_COMPUTED = re.compile(r"(rotary_emb\.inv_freq|attn\.masked_bias|attn\.bias)$")
_COPIES = re.compile(r"\.(\w+)\.(?:modules_to_save|original_module)\.(?:weight|bias)$")
_SHAPES = re.compile(r"size mismatch for (\S+): .*?torch\.Size\((.*?)\).*?torch\.Size\((.*?)\)", re.DOTALL)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def causal_model(weights: Path, *, allow_mismatch: bool = False, **options: Any) -> Any:
    """Load a causal language model of which every tensor is there.

    Args:
        weights: its folder.
        allow_mismatch: load it although the folder holds tensors for which this model has no place.
        options: of transformers' ``from_pretrained``.

    Returns:
        The model.

    Raises:
        InputError: the folder holds no such model, files are broken, or tensors are missing or left over.
    """
    from transformers import AutoModelForCausalLM

    check_model(weights)
    with without_bars(), _unwarned():
        model, found = AutoModelForCausalLM.from_pretrained(weights, output_loading_info=True, **options)
    if missing := found["missing_keys"]:
        raise InputError(f"{weights}: lacks {_named(missing)}; the model would guess at random: get its files again")
    left = {name for name in found["unexpected_keys"] if not _COMPUTED.search(name)}
    if left and not allow_mismatch:
        raise InputError(
            f"{weights}: holds {_named(left)} for which {type(model).__name__} has no place, so config.json or the "
            f"weights are another model's; if that is meant, set {OVERRIDE}"
        )
    return model


def check_model(weights: Path) -> None:
    """Look at a folder before its weights are loaded.

    Args:
        weights: what should be a causal language model's folder.

    Raises:
        InputError: it is an adapter's or a classifier's, or files are broken.
    """
    check_files(weights)
    if not (weights / "config.json").is_file():
        if (weights / "adapter_config.json").is_file():
            raise InputError(
                f"{weights}: an adapter, not a whole model; give its base as the model, and this as adapter"
            )
        raise InputError(f"{weights}: no config.json, so it is no model's folder; check the path")
    try:
        kinds = json.loads((weights / "config.json").read_bytes()).get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise InputError(f"{weights / 'config.json'}: not JSON with an object ({error}); get the file again") from error
    if kinds and not any("CausalLM" in kind or "ConditionalGeneration" in kind for kind in kinds):
        raise InputError(
            f"{weights}: {kinds[0]}, not a causal language model, so it has no words for true and false; give one "
            "that was trained to say them"
        )


def merged(
    model: Any, adapter: Path, *, vocabulary: int, base: str | None, identity: str | None, allow_mismatch: bool = False
) -> Any:
    """Merge an adapter of which every tensor fits, so that it costs nothing at run time.

    Args:
        model: the base.
        adapter: its folder.
        vocabulary: tokens of the tokenizer; embeddings grow where added ones do not fit into spare rows, as
            LLaMA-Factory does (``resize_vocab``).
        base: what the base is called on the hub, or None where nobody can know (a folder).
        identity: what the base is named by (`limrank_ir.weights.identity`), or None.
        allow_mismatch: merge it although it was made for another base, or some of its tensors find no place.

    Returns:
        The model with the adapter in its weights.

    Raises:
        InputError: the adapter is broken, of another kind, for another base, or does not fit the base tensor by tensor.
    """
    from peft import PeftConfig, get_peft_model

    check_files(adapter)
    if not (adapter / "adapter_config.json").is_file():
        raise InputError(f"{adapter}: no adapter_config.json, so it is no PEFT adapter; check the path")
    try:
        config = PeftConfig.from_pretrained(adapter)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        place = adapter / "adapter_config.json"
        raise InputError(f"{place}: no settings of a PEFT adapter ({reason(error)}); check the path") from error
    if str(getattr(config.task_type, "value", config.task_type or "CAUSAL_LM")) != "CAUSAL_LM":
        raise InputError(f"{adapter}: an adapter of a {config.task_type} model, not of a causal language model")
    if not allow_mismatch:
        _check_base(adapter, config.base_model_name_or_path, base, identity)
    if vocabulary > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(vocabulary)
    with _unwarned():
        try:
            adapted = get_peft_model(model, config)
            found = adapted.load_adapter(str(adapter), "default", torch_device="cpu")
        except (TypeError, AttributeError, *UNREADABLE) as error:
            if out_of_memory(error):
                raise
            raise InputError(
                f"{adapter}: does not fit on the base ({reason(error)}); give the base it was made for"
            ) from error
    left = [name for name in found.unexpected_keys if not _is_copy(name, config)]
    if found.missing_keys:
        fits = f", and the base has no place for {_named(left)}" if left else ""
        raise InputError(
            f"{adapter}: lacks {_named(found.missing_keys)}, which its configuration asks for{fits}; give the base "
            "that it was made for, or get its files again"
        )
    if left and not allow_mismatch:
        raise InputError(
            f"{adapter}: the base has no place for {_named(left)}; give the base that it was made for, or, if that is "
            f"meant, set {OVERRIDE}"
        )
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise InputError(f"{adapter}: a {config.peft_type} adapter, which cannot be merged; LoRA and its kin can")
    if odd := [name for name, value in adapted.named_parameters() if "default" in name and not value.isfinite().all()]:
        raise InputError(
            f"{adapter}: NaN or infinity in {_named(odd)}; its training failed, so use an earlier checkpoint"
        )
    return adapted.merge_and_unload()


def _is_copy(name: str, config: Any) -> bool:
    """Whether PEFT wrote a tensor twice: what was trained in full also goes by its places in PEFT's wrapper."""
    copy = _COPIES.search(name)
    return copy is not None and copy[1] in (getattr(config, "modules_to_save", None) or ())


def record_base(adapter: Path, base: Model) -> None:
    """Note beside an adapter which base it was trained on, so that no other one is taken for it.

    Args:
        adapter: its folder.
        base: the base.
    """
    with replacing(adapter / BASE_RECORD) as file:
        file.write(json.dumps({"base": identity_of(base.weights)}, indent=2) + "\n")


def _check_base(adapter: Path, named: str | None, base: str | None, identity: str | None) -> None:
    """Compare what an adapter says of its base with the base; a folder's path on another machine says nothing."""
    record = adapter / BASE_RECORD
    if record.is_file() and identity is not None:
        try:
            recorded = json.loads(record.read_bytes()).get("base")
        except (ValueError, AttributeError) as error:
            raise InputError(f"{record}: not JSON with an object; get the file again, or remove it") from error
        if recorded not in (None, identity):
            raise InputError(
                f"{adapter}: was trained on other weights ({recorded}) than these ({identity}); give its base, or, if "
                f"that is meant, set {OVERRIDE}"
            )
        return
    if base is None or named is None or not _HUB_ID.fullmatch(named):
        return
    if named.rpartition("/")[2].lower() != base.rpartition("/")[2].lower():  # copies of others keep the name
        raise InputError(
            f"{adapter}: made for {named}, not for {base}; give that as the model, or, if this is meant, set {OVERRIDE}"
        )


@contextmanager
def _unwarned() -> Iterator[None]:
    """Keep libraries from warning of what is an error here."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _named(names: Collection[str]) -> str:
    """Tensors, the first few by name, as the files call them."""
    shown = sorted(name.removeprefix("base_model.model.").replace(".default.", ".") for name in names)[:3]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"the tensor{'s' if len(names) > 1 else ''} {', '.join(shown)}{more}"


def reason(error: BaseException) -> str:
    """What a library said, in one line."""
    if shapes := _SHAPES.search(str(error)):
        name, found, wanted = shapes.groups()
        return f"{_named([name])} has the shape {found}, where {wanted} is wanted"
    return " ".join(str(error).split())[:200] or type(error).__name__
