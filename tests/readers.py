"""What the tests of readers share: a file with some content, and the one line that a reader refuses it with."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limrank_ir.errors import LimRankError


def message(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    """The line with which a function refuses its arguments; generators are read to their end."""
    with pytest.raises(LimRankError) as caught:
        list(function(*args, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(path: Path, content: str) -> Path:
    """A file with this content, compressed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()) if path.name.endswith(".gz") else content.encode())
    return path
