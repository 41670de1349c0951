"""The run card: what a run was made of and what came out, in one JSON file; and the plot of its loss."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing

from .config import TrainConfig

RECORD, SETTINGS = "run.json", "settings.json"
_PACKAGES = ("limrank-ir", "torch", "transformers", "peft", "accelerate")


def check_settings(config: TrainConfig, digest: str) -> None:
    """Write down what a run is made of, or make sure that a run that goes on is still made of it.

    Args:
        config: the run.
        digest: of its data.

    Raises:
        InputError: the output folder holds checkpoints of other settings or data.
    """
    place = config.output / SETTINGS
    settings = _portable(config)
    if any(config.output.glob("checkpoint-*")):
        try:
            before = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{config.output}: holds checkpoints, but no {SETTINGS} that says what they are of; give another output"
            ) from error
        changed = [name for name in settings if before["config"].get(name) != settings[name]]
        if before["data_sha256"] != digest and "data" not in changed:
            changed.append("the rows themselves")
        if changed:
            raise InputError(
                f"{config.output}: holds checkpoints of a run with other settings ({', '.join(changed)}); "
                "give another output, or remove them"
            )
    with replacing(place) as file:
        json.dump({"config": settings, "data_sha256": digest}, file, indent=2)


def write_run_record(
    config: TrainConfig, trainer: Any, digest: str, examples: int, metrics: dict[str, float], started: float
) -> None:
    """Write the run card and the loss plot into the output folder.

    Args:
        config: the run.
        trainer: the trainer, when it has ended.
        digest: of the data.
        examples: how many there were.
        metrics: what the trainer returned.
        started: when the run began, in seconds since the epoch.
    """
    history = trainer.state.log_history
    record = {
        "config": _portable(config),
        "data_sha256": digest,
        "examples": examples,
        "steps": trainer.state.global_step,
        "processes": trainer.args.world_size,
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "seconds": round(time.time() - started, 1),
        "metrics": metrics,
        "history": history,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": f"{platform.system()} {platform.machine()}, {trainer.args.device}",
    }
    with replacing(config.output / RECORD) as file:
        json.dump(record, file, indent=2)
    plot_loss(history, config.output / "loss.png")


def plot_loss(history: list[dict[str, float]], place: Path) -> None:
    """Draw the loss and its parts.

    Args:
        history: the trainer's log.
        place: the PNG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    logged = [entry for entry in history if "loss" in entry]
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name in sorted({name for entry in logged for name in entry if name.startswith("loss")}):
        points = [(entry["step"], entry[name]) for entry in logged if name in entry]
        label = name.removeprefix("loss_") if name != "loss" else "loss (weighted sum)"
        axis.plot(*zip(*points, strict=True), label=label, linewidth=2 if name == "loss" else 1)
    axis.set_xlabel("step")
    axis.set_ylabel("loss")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(place, dpi=120)
    plt.close(figure)


def _portable(config: TrainConfig) -> dict[str, Any]:
    """The settings without where files are on this machine: a run may go on in another folder."""
    settings = config.model_dump(mode="json", exclude={"output": True, "data": {"folder": True}})
    folder = config.data.folder
    for source in settings["data"]["sources"]:
        source["path"] = Path(os.path.relpath(source["path"], source.pop("folder") or folder)).as_posix()
    settings["data"]["exclude_topics"] = [
        Path(os.path.relpath(path, folder)).as_posix() for path in settings["data"]["exclude_topics"]
    ]
    return settings


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
