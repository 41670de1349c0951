"""``limrank average``: the average of several checkpoints as one adapter.

The mean of A and the mean of B are averaged separately, and their product is not the mean of the products B A. It is
close to it if the checkpoints are close to each other, as those of one run are, and those of runs that go on from one
adapter with other data or another seed ("model soups", Wortsman et al., 2022). Adapters that started from different
random weights use their slots differently, so their averaged factors mean nothing, and they are refused.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.weights import identity

from .run_record import RECORD, SETTINGS
from .start import SUFFIX_A
from .trained import CONFIG, WEIGHTS, read_json

if TYPE_CHECKING:
    import torch

_TOKENIZER = ("tokenizer*", "chat_template*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt")
_SAME_START = ("model", "lora", "quantize")  # what decides an adapter's first weights, and what they mean
_DIFFERS = (
    "{}: its run differs from that of {} ({}), so an average of their weights means nothing; average checkpoints of "
    "one run, or of runs from one adapter"
)
_ALIKE = 0.5
"""The cosine from which two rows of A are one slot. Runs from one adapter keep it near 1; random rows are near 0."""


def average(checkpoints: Sequence[Path], out: Path, weights: Sequence[float] | None = None) -> Path:
    """Average checkpoints of runs with the same start: of one run, or of several that go on from one adapter.

    Args:
        checkpoints: checkpoints, averages in them (``checkpoint-N/ema``), adapters in runs' folders (``adapter``,
            ``adapter-ema``), or runs' folders. If they differ in precision, the result has the highest.
        out: the folder to write, which looks like that of a run; it must not exist.
        weights: the weight of each; None: all the same.

    Returns:
        The adapter's folder.

    Raises:
        InputError: fewer than two checkpoints, wrong weights, or checkpoints whose runs are unknown or differ in model,
            LoRA settings, start, or the seed of slots that are random at the start.
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
        if changed := _changed(settings[0], other):
            raise InputError(_DIFFERS.format(adapter, adapters[0], ", ".join(changed)))
    total = sum(weights)
    mean: dict[str, torch.Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    first = load_file(adapters[0] / WEIGHTS)
    for adapter, weight, setting in zip(adapters, weights, settings, strict=True):
        reseeded = setting["config"].get("seed") != settings[0]["config"].get("seed")
        for name, tensor in load_file(adapter / WEIGHTS).items():
            if reseeded and name.endswith(SUFFIX_A) and _least_cosine(first[name], tensor) < _ALIKE:
                raise InputError(_DIFFERS.format(adapter, adapters[0], f"slots of {name.removesuffix(SUFFIX_A)}"))
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


def _changed(settings: Any, others: Any) -> list[str]:
    """What differs between two runs of what must not."""
    # Without a start, the seed decides all slots; with one, perhaps some, which the slots themselves show.
    config = [*_SAME_START, *([] if settings.get("start") else ["seed"])]
    changed = [name for name in config if settings["config"].get(name) != others["config"].get(name)]
    return changed + ([] if settings.get("start") == others.get("start") else ["start"])


def _least_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """The least cosine of two matrices' rows."""
    from torch.nn.functional import cosine_similarity

    return float(cosine_similarity(one.double(), other.double(), dim=1).min())


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
                "seed": setting["config"].get("seed"),
                "data_sha256": setting["data_sha256"],
                "identity": identity(str(adapter)),
            }
            for adapter, run, weight, setting in zip(adapters, runs, weights, settings, strict=True)
        ],
    }
