"""``limrank average``: the average of several checkpoints as one adapter.

The mean of A and the mean of B are averaged separately, and their product is not the mean of the products B A. It is
close to it if the checkpoints are close to each other, as those of one run are. Adapters that started from different
random weights use their slots differently, so their averaged factors mean nothing, and they are refused.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.weights import identity

from .run_record import RECORD, SETTINGS
from .trained import CONFIG, WEIGHTS, read_json

_TOKENIZER = ("tokenizer*", "chat_template*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt")
_SAME_START = ("model", "lora", "seed", "quantize")  # what decides an adapter's first weights, and what they mean


def average(checkpoints: Sequence[Path], out: Path, weights: Sequence[float] | None = None) -> Path:
    """Average checkpoints of runs with the same start.

    Args:
        checkpoints: checkpoints, averages in them (``checkpoint-N/ema``), adapters in runs' folders (``adapter``,
            ``adapter-ema``), or runs' folders. If they differ in precision, the result has the highest.
        out: the folder to write, which looks like that of a run; it must not exist.
        weights: the weight of each; None: all the same.

    Returns:
        The adapter's folder.

    Raises:
        InputError: fewer than two checkpoints, wrong weights, or checkpoints whose runs are unknown or differ in model,
            LoRA settings, or seed.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights = list(weights or [1.0] * len(checkpoints))
    if len(checkpoints) < 2 or len(weights) != len(checkpoints) or not all(0 < w < math.inf for w in weights):
        raise InputError("limrank average needs two or more checkpoints and, with --weight, a number above 0 for each")
    if out.exists():
        raise InputError(f"{out}: already exists; remove it, or choose another name")
    adapters = [path / "adapter" if (path / "adapter" / CONFIG).is_file() else path for path in checkpoints]
    runs = [_run(adapter) for adapter in adapters]
    settings = [read_json(run / SETTINGS) for run in runs]
    for adapter, other in zip(adapters[1:], settings[1:], strict=True):
        first = {name: settings[0]["config"].get(name) for name in _SAME_START} | {"start": settings[0].get("start")}
        this = {name: other["config"].get(name) for name in _SAME_START} | {"start": other.get("start")}
        if changed := [name for name in first if first[name] != this[name]]:
            raise InputError(
                f"{adapter}: its run differs from that of {adapters[0]} ({', '.join(changed)}), so an average of their "
                "weights means nothing; average checkpoints of one run"
            )
    total = sum(weights)
    mean: dict[str, torch.Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    for adapter, weight in zip(adapters, weights, strict=True):
        for name, tensor in load_file(adapter / WEIGHTS).items():
            part = tensor.double() * (weight / total)
            mean[name] = mean[name] + part if name in mean else part
            dtypes[name] = torch.promote_types(dtypes.get(name, tensor.dtype), tensor.dtype)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=_parent(out)))
    try:
        (temporary / "adapter").mkdir()
        tensors = {name: tensor.to(dtypes[name]).contiguous() for name, tensor in mean.items()}
        save_file(tensors, temporary / "adapter" / WEIGHTS, metadata={"format": "pt"})
        for path in (path for name in (CONFIG, *_TOKENIZER) for path in adapters[0].glob(name)):
            shutil.copy(path, temporary / "adapter")
        for name in (SETTINGS, "data.json"):
            if (runs[0] / name).is_file():
                shutil.copy(runs[0] / name, temporary)
        record = _record(adapters, runs, weights, settings)
        with replacing(temporary / RECORD) as file:
            json.dump(record, file, indent=2)
        temporary.chmod(0o755)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out / "adapter"


def _parent(out: Path) -> Path:
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    return out.absolute().parent


def _run(adapter: Path) -> Path:
    """The folder of the run that an adapter is from."""
    if not (adapter / CONFIG).is_file() or not (adapter / WEIGHTS).is_file():
        raise InputError(f"{adapter}: contains no adapter ({CONFIG}, {WEIGHTS}); name a checkpoint, or a run's folder")
    for folder in list(adapter.absolute().parents)[:3]:  # an average is two folders down in its checkpoint
        if (folder / SETTINGS).is_file():
            return folder
    raise InputError(
        f"{adapter}: no {SETTINGS} of its run beside it, so its start is unknown; name it in its run's folder"
    )


def _record(
    adapters: Sequence[Path], runs: Sequence[Path], weights: Sequence[float], settings: Sequence[Any]
) -> dict[str, Any]:
    """The record of an average, as far as it is one of a run."""
    states = [read_json(path) for adapter in adapters if (path := adapter / "trainer_state.json").is_file()]
    longest: dict[str, Any] = max(states, key=lambda state: state["global_step"], default={})
    digests = {each["data_sha256"] for each in settings}
    return {
        "config": settings[0]["config"],
        "data_sha256": digests.pop() if len(digests) == 1 else None,
        "start": settings[0].get("start"),
        "steps": longest.get("global_step"),
        "history": longest.get("log_history", []),
        "average": [
            {
                "checkpoint": f"{run.name}/{adapter.absolute().relative_to(run.absolute()).as_posix()}",
                "weight": weight,
                "identity": identity(str(adapter)),
            }
            for adapter, run, weight in zip(adapters, runs, weights, strict=True)
        ],
    }
