"""The record of a run: its settings, data hash, losses, and versions in run.json, and a plot of the loss."""

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
from .start import start_name, start_record

RECORD, SETTINGS = "run.json", "settings.json"
# What may be different in a run that goes on from another one's checkpoint.
_MAY_DIFFER = {
    *("max_steps", "num_train_epochs", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio"),
    *("save_steps", "save_strategy", "save_total_limit", "logging_steps", "report_to", "disable_tqdm"),
}
_PACKAGES = ("limrank-ir", "torch", "transformers", "peft", "accelerate")


def check_settings(
    config: TrainConfig,
    digest: str,
    name: str = SETTINGS,
    *,
    start: dict[str, str] | None = None,
    save: bool = True,
) -> None:
    """Save the settings of a new run, or check that a resumed run still has the same settings and data.

    Args:
        config: the run.
        digest: the hash of its data.
        name: the file for the settings, which runs of one kind share.
        start: what the run starts from, if that is not `Lora.start`.
        save: whether to write it.

    Raises:
        InputError: the output folder contains checkpoints of a run of another kind, or with other settings or data.
    """
    place = config.output / name
    settings, start = portable(config), start or start_record(config.lora.start)
    if any(config.output.glob("checkpoint-*")):
        try:
            before = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{config.output}: contains checkpoints, but no readable {name}; use another output folder"
            ) from error
        changed = [part for part in settings if before["config"].get(part) != settings[part]]
        if before["data_sha256"] != digest and "data" not in changed:
            changed.append("the rows")
        if before.get("start") != start and "lora" not in changed:
            changed.append("what it starts from")
        if changed:
            raise InputError(
                f"{config.output}: contains checkpoints of a run with other settings ({', '.join(changed)}); "
                "use another output folder, or remove them"
            )
    if not save:
        return
    with replacing(place) as file:
        json.dump({"config": settings, "data_sha256": digest, "start": start}, file, indent=2)


def check_same_run(config: TrainConfig, digest: str, checkpoint: Path) -> None:
    """Check that a checkpoint is from a run with the same settings and data, except for length and learning rate.

    Args:
        config: the run.
        digest: the hash of its data.
        checkpoint: a checkpoint in the folder of its run.

    Raises:
        InputError: it is from another run, or its run is not known.
    """
    try:
        before = json.loads((checkpoint.absolute().parent / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{checkpoint}: no readable {SETTINGS} of its run beside it; name a run's checkpoint"
        ) from error
    old, new = before["config"], portable(config)
    changed = [name for name in new if name not in ("training", "ema") and old.get(name) != new[name]]
    names = (old["training"].keys() | new["training"].keys()) - _MAY_DIFFER
    changed += sorted(f"training.{name}" for name in names if old["training"].get(name) != new["training"].get(name))
    if before["data_sha256"] != digest and "data" not in changed:
        changed.append("the rows")
    if changed:
        raise InputError(f"{checkpoint}: from a run with other settings ({', '.join(changed)}); name one of this run")


def write_run_record(
    config: TrainConfig,
    trainer: Any,
    digest: str,
    examples: int,
    metrics: dict[str, float],
    started: float,
    *,
    resumed: bool,
    branch: Path | None = None,
) -> None:
    """Write run.json and the loss plot to the output folder.

    Args:
        config: the run.
        trainer: the trainer, after training.
        digest: the hash of the data.
        examples: the number of training examples.
        metrics: what the trainer returned.
        started: when this process started, in seconds since the epoch.
        resumed: whether it continued from a checkpoint, so that the run took longer than this process.
        branch: the checkpoint of another run that it began with, or None.
    """
    history = trainer.state.log_history
    record = {
        "config": portable(config),
        "data_sha256": digest,
        "start": start_record(config.lora.start),
        "branch": None if branch is None else f"{branch.absolute().parent.name}/{branch.name}",
        "examples": examples,
        "steps": trainer.state.global_step,
        "processes": trainer.args.world_size,
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "seconds": round(time.time() - started, 1),
        "resumed": resumed,
        "metrics": metrics,
        "history": history,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": f"{platform.system()} {platform.machine()}, {trainer.args.device}",
    }
    with replacing(config.output / RECORD) as file:
        json.dump(record, file, indent=2)
    plot_loss(history, config.output / "loss.png")


def plot_loss(history: list[dict[str, float]], place: Path) -> None:
    """Plot the loss and its parts.

    Args:
        history: the trainer's log.
        place: the PNG file to write.
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


def portable(config: TrainConfig) -> dict[str, Any]:
    """The settings without this machine's folders, so that a run can be resumed in another place."""
    settings = config.model_dump(mode="json", exclude={"output": True, "data": {"folder": True, "teacher_cache": True}})
    folder = config.data.folder
    if config.lora.start is not None:
        settings["lora"]["start"] = start_name(config.lora.start)
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
