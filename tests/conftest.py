"""Shared by all tests: the real small model, loaded once, and no network."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # processes that share all cores are five times slower
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // int(workers)))

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[2] / "shared"
LONG = {"test_train_pieces.py", "test_train_run.py"}  # the longest of the last modules by name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long modules sooner than by name: a worker that begins one at the end works while the others are done."""
    items.sort(key=lambda item: "test_synth" if item.path.name in LONG else item.path.name)


@pytest.fixture(scope="session")
def smol_folder() -> Path:
    """The default model's weights as a transformers folder."""
    from limrank_ir.models import SMOL
    from limrank_ir.weights import locate

    return locate(SMOL)


@pytest.fixture(scope="session")
def smol(smol_folder: Path) -> tuple[Any, Any]:
    """The default model and its tokenizer, loaded with transformers and PEFT for comparison."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from limrank_ir.models import resolve

    model = AutoModelForCausalLM.from_pretrained(smol_folder, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(model, resolve().adapter).merge_and_unload().eval()
    return adapted, AutoTokenizer.from_pretrained(smol_folder)


@pytest.fixture(scope="session")
def limrank() -> Any:
    """The default reranker."""
    from limrank_ir import LimRank

    return LimRank()


@pytest.fixture(scope="session")
def docstrings() -> list[str]:
    """Real passages of many lengths, from Python's documentation."""
    from pydoc_data.topics import topics

    texts = [text for _, text in sorted(topics.items())]
    words = [text.split() for text in texts]
    return [" ".join(row[: 12 + 37 * (number % 9)]) for number, row in enumerate(words)]


@pytest.fixture(autouse=True, scope="session")
def _default_reranker_loaded_once() -> Iterator[None]:
    """Spare sixty loads of the same weights, 1.5 seconds each. Programs that tests start load their own."""
    from limrank_ir.engines.local import LocalEngine
    from limrank_ir.models import resolve

    loaded, default = LocalEngine.__dict__["_loaded"], resolve()
    load, kept = loaded.func, {}

    def once(engine: LocalEngine) -> Any:
        if engine.model != default or engine.precision != "float32":
            return load(engine)
        if engine.device not in kept:
            kept[engine.device] = load(engine)
        return kept[engine.device]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded, "func", once)
        yield


@pytest.fixture(autouse=True, scope="session")
def _answers_without_waiting_for_the_disk() -> Iterator[None]:
    """Spare ten thousand waits for the disk. Only a crash of the machine would tell; programs that tests start wait."""
    from limrank_ir.llm.journal import Journal

    opened = Journal.__init__

    def faster(self: Journal, path: Path) -> None:
        opened(self, path)
        self._database.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "__init__", faster)
        yield


@pytest.fixture(autouse=True, scope="session")
def _pyterrier_offline() -> Iterator[None]:
    """Keep PyTerrier from downloading its documentation's inventory when it draws schematics."""
    import pyterrier as pt

    pt.documentation._cached_objects_inv = {}
    yield
