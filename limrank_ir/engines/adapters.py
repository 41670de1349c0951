"""Merge adapters completely: every tensor of an adapter, into the base model that it was made for.

PEFT ignores tensors that do not fit and only warns. Here, that is an error that names the tensors.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from limrank_ir.engines.base_models import OVERRIDE, UNREADABLE, no_warnings, reason, tensor_names
from limrank_ir.engines.out_of_memory import out_of_memory
from limrank_ir.errors import InputError
from limrank_ir.formats.checkpoint import check_files
from limrank_ir.formats.files import replacing
from limrank_ir.models import Model
from limrank_ir.weights import identity as identity_of

BASE_RECORD = "limrank.json"  # in the folder of an adapter that `limrank train` made: {"base": identity of the base}
_COPIES = re.compile(r"\.(\w+)\.(?:modules_to_save|original_module)\.(?:weight|bias)$")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


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
    fits = fitted(model, adapter, vocabulary=vocabulary, base=base, identity=identity, allow_mismatch=allow_mismatch)
    return fits.merge_and_unload()


def adapter_config(adapter: Path) -> Any:
    """Read the settings of an adapter.

    Args:
        adapter: the adapter's folder.

    Returns:
        PEFT's configuration.

    Raises:
        InputError: the folder is not that of a PEFT adapter for a causal language model, or files are broken.
    """
    from peft import PeftConfig

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
    return config


def fitted(
    model: Any, adapter: Path, *, vocabulary: int, base: str | None, identity: str | None, allow_mismatch: bool = False
) -> Any:
    """Put an adapter on its base model, not merged. Every tensor must fit.

    Args:
        model: the base model. On the device ``"meta"``, it has no weights, and the adapter is only checked.
        adapter: as for `merged`, and the other arguments, too.
        vocabulary: see `merged`.
        base: see `merged`.
        identity: see `merged`.
        allow_mismatch: see `merged`.

    Returns:
        PEFT's model.

    Raises:
        InputError: as for `merged`.
    """
    from peft import get_peft_model
    from peft.utils import load_peft_weights

    config = adapter_config(adapter)
    if not allow_mismatch:
        check_base(adapter, config.base_model_name_or_path, base, identity)
    if vocabulary > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(vocabulary)
    with no_warnings():
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
        also = f", and the base model has no place for {tensor_names(unexpected)}" if unexpected else ""
        raise InputError(
            f"{adapter}: missing {tensor_names(found.missing_keys)} of its configuration{also}; give the base model "
            "it was made for, or download its files again"
        )
    if unexpected and not allow_mismatch:
        raise InputError(
            f"{adapter}: the base model has no place for {tensor_names(unexpected)}; give the base model it was made "
            f"for, or, to merge it anyway, set {OVERRIDE}"
        )
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise InputError(
            f"{adapter}: a {config.peft_type} adapter cannot be merged; use one of LoRA or a related method"
        )
    weights = load_peft_weights(str(adapter), device="cpu")
    if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise InputError(
            f"{adapter}: NaN or infinity in {tensor_names(broken)}; its training failed, so use an earlier checkpoint"
        )
    return adapted


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


def check_base(adapter: Path, named: str | None, base: str | None, identity: str | None) -> None:
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
