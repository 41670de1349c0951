"""Tests with the real vLLM, in a venv of its own: `make test-vllm`. Without vLLM they fail, they do not skip."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin slow each other down if the cores are shared

CACHE = 1 << 28  # bytes for keys and values: little, as several models are started


def pytest_sessionstart() -> None:
    """Say why vLLM cannot start here, in one line."""
    flags = Path("/proc/cpuinfo")
    if find_spec("vllm") is None:
        pytest.exit("vLLM is not installed in this Python; run: make test-vllm", returncode=1)
    if platform.machine() == "x86_64" and flags.exists() and "avx2" not in flags.read_text():
        pytest.exit("vLLM cannot start here: this CPU has no AVX2", returncode=1)


@pytest.fixture(scope="session")
def smol_folder() -> Path:
    """The default model's weights as a transformers folder."""
    from limrank_ir.models import SMOL
    from limrank_ir.weights import locate

    return locate(SMOL)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: Any, smol_folder: Path) -> Path:
    """A tiny random model with heads of a size that vLLM can run on a CPU."""
    from tests import tiny

    folder = tmp_path_factory.mktemp("tiny")
    return tiny.make(folder, smol_folder, num_attention_heads=2, num_key_value_heads=1, seed=3, std=0.05)


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[..., Any]]:
    """Makes a LimRank with vLLM, which ends with the module. Further arguments are engine options."""
    from limrank_ir import LimRank

    made = []

    def make(model: str = "limrank-smol", engine_options: dict[str, Any] | None = None, **options: Any) -> LimRank:
        engine_options = {"kv_cache_memory_bytes": CACHE, **(engine_options or {})}
        made.append(LimRank(model, engine="vllm", engine_options=engine_options, **options))
        return made[-1]

    yield make
    for limrank in made:
        if "_started" in limrank.engine.__dict__:
            with suppress(Exception):
                limrank.engine._stop()
