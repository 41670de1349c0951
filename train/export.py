"""``limrank export``: write a trained adapter to a folder that others can use, with a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank_ir.errors import InputError
from limrank_ir.models import Dtype
from limrank_ir.weights import identity, locate

from .model_card import read_results, write_model_card
from .trained import CONFIG, WEIGHTS, ExportKind, Trained, read_json, read_trained

if TYPE_CHECKING:
    import torch


def export(
    source: Path,
    out: Path,
    kind: ExportKind,
    *,
    dtype: Dtype | None = None,
    results: Path | None = None,
    data: Path | None = None,
    base_model: str | None = None,
) -> None:
    """Write an adapter, a merged model, or a merged model for llama.cpp, each with a model card.

    Args:
        source: a run's folder, a checkpoint in it, an adapter, or a model with an adapter (``limrank-smol``).
        out: the folder to write; it appears only when it is complete.
        kind: what to write.
        dtype: precision; None: an adapter as trained, a merged model as its base model, GGUF float16.
        results: results.json of ``limrank bench suite``, for the model card.
        data: the folder of the training data, to read licenses from if the run has no data.json.
        base_model: the hub id of the base model; required if it was trained from a local folder.

    Raises:
        InputError: the source is not an adapter, the base model has no hub id, or a file cannot be read or written.

    Example:
        >>> export(Path("runs/limrank-smol"), Path("limrank-smol"), "adapter")  # doctest: +SKIP
    """
    if out.exists():
        raise InputError(f"{out}: already exists; remove it, or choose another name")
    trained = read_trained(source, data=data, base_model=base_model)
    measured = None if results is None else read_results(results)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    try:
        if kind == "adapter":
            _write_adapter(trained, temporary, dtype)
        else:
            _write_merged(trained, temporary, dtype or ("float16" if kind == "gguf" else None))
        write_model_card(trained, temporary / "README.md", out.name, kind, measured)
        for path in (temporary, *temporary.iterdir()):  # temporary folders and safetensors are created private
            path.chmod(0o755 if path.is_dir() else 0o644)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_adapter(trained: Trained, folder: Path, dtype: Dtype | None) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from limrank_ir.engines.adapters import BASE_RECORD

    tensors = load_file(trained.adapter / WEIGHTS)
    if dtype is not None:
        tensors = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    # A local path of the base model means nothing to others.
    config = {**trained.lora, "base_model_name_or_path": trained.base, "revision": None, "inference_mode": True}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if (trained.adapter / BASE_RECORD).is_file():
        shutil.copy(trained.adapter / BASE_RECORD, folder)
    if trained.own_tokens:
        _write_tokenizer(trained.adapter, folder)


def _write_merged(trained: Trained, folder: Path, dtype: Dtype | None) -> None:
    import torch

    from limrank_ir.engines.adapters import merged
    from limrank_ir.engines.base_models import UNREADABLE, causal_model, reason

    weights = locate(trained.weights)
    try:
        # Merge in float32, and round once at the end.
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
        model.config.tie_word_embeddings = False  # they were trained separately; loading must not tie them again
    model.to(getattr(torch, dtype) if dtype else _own_dtype(weights)).save_pretrained(folder)


def _own_dtype(weights: Path) -> torch.dtype:
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(weights).dtype or torch.float32


def _write_tokenizer(source: Path, folder: Path) -> Any:
    """Copy a tokenizer by loading and saving it, so that no other files are copied."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(folder)
    place = folder / "tokenizer_config.json"
    config = read_json(place)
    for name in ("is_local", "local_files_only", "name_or_path"):  # about this machine, not the tokenizer
        config.pop(name, None)
    place.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return tokenizer
