"""Failures are of two kinds, and each one that this package raises is sorted into one of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from limrank_ir import EngineError, InputError, LimRankError
from limrank_ir.cli.console import FAILURE, INPUT, status_of

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for folder in ("limrank_ir", "synth", "train", "benchmarks") for path in ROOT.joinpath(folder).rglob("*.py")
]


def test_both_kinds_are_caught_by_the_common_name() -> None:
    assert issubclass(InputError, LimRankError) and issubclass(EngineError, LimRankError)
    assert not issubclass(InputError, EngineError) and not issubclass(EngineError, InputError)


def test_the_exit_status_tells_the_kinds_apart() -> None:
    assert status_of(InputError("x")) == INPUT == 2
    assert status_of(EngineError("x")) == FAILURE == 1


def test_no_failure_is_left_unsorted() -> None:
    unsorted = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id == "LimRankError"
    ]
    assert len(SOURCES) > 100
    assert not unsorted


def test_memory_that_runs_out_is_the_machines_fault() -> None:
    import torch

    from limrank_ir.engines.memory import within_memory

    for error in (torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("can't allocate memory: 9 bytes")):
        with (
            pytest.raises(EngineError, match=r"^config\.yaml: out of memory; lower it$"),
            within_memory("config.yaml", "lower it"),
        ):
            raise error
    with pytest.raises(RuntimeError, match="another"), within_memory("config.yaml", "lower it"):
        raise RuntimeError("another")
