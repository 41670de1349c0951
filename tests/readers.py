"""Shared by the tests of readers: write a file, and get the message with which a reader refuses it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limrank_ir.errors import LimRankError


def message(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    """The error message, one line, of a function call. A generator is read to its end."""
    with pytest.raises(LimRankError) as caught:
        list(function(*args, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(path: Path, content: str) -> Path:
    """Write a file, compressed if its name ends in ``.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()) if path.name.endswith(".gz") else content.encode())
    return path
