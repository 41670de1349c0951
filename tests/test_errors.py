"""There are two kinds of errors, and every error that this package raises is one of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from limrank_ir import EngineError, InputError, LimRankError
from limrank_ir.cli.shell import FAILURE, INPUT, status_of

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for folder in ("limrank_ir", "synth", "train", "benchmarks") for path in ROOT.joinpath(folder).rglob("*.py")
]


def test_both_kinds_have_a_common_base_class() -> None:
    assert issubclass(InputError, LimRankError) and issubclass(EngineError, LimRankError)
    assert not issubclass(InputError, EngineError) and not issubclass(EngineError, InputError)


def test_each_kind_has_its_exit_status() -> None:
    assert status_of(InputError("x")) == INPUT == 2
    assert status_of(EngineError("x")) == FAILURE == 1


def test_the_base_class_is_never_raised() -> None:
    places = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id == "LimRankError"
    ]
    assert len(SOURCES) > 100
    assert not places


def test_running_out_of_memory_is_an_engine_error() -> None:
    import torch

    from limrank_ir.engines.out_of_memory import within_memory

    for error in (torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("can't allocate memory: 9 bytes")):
        with (
            pytest.raises(EngineError, match=r"^config\.yaml: out of memory; lower it$"),
            within_memory("config.yaml", "lower it"),
        ):
            raise error
    with pytest.raises(RuntimeError, match="another"), within_memory("config.yaml", "lower it"):
        raise RuntimeError("another")
