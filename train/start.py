"""Start a LoRA adapter from another one, so that before the first step the model is the old one exactly.

The old adapter may have a lower rank, and adapt fewer modules and layers. Its A and B fill the first slots of the new
one, with B scaled so that differences in alpha / rank cancel out. The other slots start as PEFT starts them: A random
and B zero, so they add nothing yet, but learn.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, Model
from limrank_ir.weights import identity, locate

if TYPE_CHECKING:
    import torch

_PREFIX = "base_model.model."
SUFFIX_A, _SUFFIX_B = ".lora_A.weight", ".lora_B.weight"


def start_folder(start: str) -> Path:
    """The folder of an adapter to start from.

    Args:
        start: a model's name, or a folder (`limrank_ir.train.config.Lora.start`).

    Raises:
        InputError: the model has no adapter, or it cannot be found.
    """
    if start in MODELS:
        adapter = MODELS[start].adapter
        if adapter is None:
            raise InputError(f"lora.start: {start} has no adapter; name an adapter's folder, or remove lora.start")
        return locate(adapter)
    if not Path(start).is_dir():
        raise InputError(f"lora.start: {start}: no such folder; name an adapter's folder, or a model with an adapter")
    return Path(start)


def start_name(start: str) -> str:
    """A name of the adapter to start from that holds on any machine, such as ``run/adapter``."""
    return start if start in MODELS else "/".join(Path(start).absolute().parts[-2:])


def start_record(start: str | None) -> dict[str, str] | None:
    """What the record of a run says of its start: its name, and a hash of its content."""
    if start is None:
        return None
    return {"adapter": start_name(start), "identity": identity(str(start_folder(start)))}


def start_from(model: Any, start: str, base: Model) -> None:
    """Copy an adapter into a new one.

    Args:
        model: PEFT's model with the new adapter.
        start: the adapter to start from (`limrank_ir.train.config.Lora.start`).
        base: the base model of the new adapter.

    Raises:
        InputError: the start is not a plain LoRA adapter, was made for another base model, or does not fit into the new
            adapter.
    """
    from peft.utils import load_peft_weights

    from limrank_ir.engines.adapters import adapter_config, check_base

    folder = start_folder(start)
    config = adapter_config(folder)
    check_base(folder, config.base_model_name_or_path, base.base, identity(base.weights))
    scale = config.lora_alpha / config.r
    weights = load_peft_weights(str(folder), device="cpu")
    plain = all(name.endswith((SUFFIX_A, _SUFFIX_B)) for name in weights)
    if not plain or config.use_rslora or config.use_dora or config.rank_pattern or config.alpha_pattern:
        raise InputError(f"lora.start: {folder} is not a plain LoRA adapter of one rank; start from such a one")
    modules = dict(model.base_model.model.named_modules())
    for name in (name for name in weights if name.endswith(SUFFIX_A)):
        place = name.removeprefix(_PREFIX).removesuffix(SUFFIX_A)
        module = modules.get(place)
        if not hasattr(module, "lora_A"):
            raise InputError(
                f"lora.start: {folder} adapts {place}, and lora.targets and lora.layers do not; add it to them"
            )
        _fill(module, weights[name], weights[name.removesuffix(SUFFIX_A) + _SUFFIX_B], scale, folder)


def _fill(module: Any, a: torch.Tensor, b: torch.Tensor, scale: float, folder: Path) -> None:
    """Copy A ``[rank, in]`` and B ``[out, rank]`` into the first slots of a module's adapter."""
    import torch

    new_a, new_b = module.lora_A["default"].weight, module.lora_B["default"].weight
    rank = len(a)
    if rank > len(new_a):
        raise InputError(f"lora.start: {folder} has rank {rank}, more than lora.rank ({len(new_a)}); raise lora.rank")
    with torch.no_grad():
        new_a[:rank] = a.to(new_a)
        new_b[:, :rank] = b.to(new_b) * (scale / module.scaling["default"])
