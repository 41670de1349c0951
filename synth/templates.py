"""The prompt files, one a stage; ``$name`` stands for a value."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from string import Template

NAMES = ("queries", "outline", "passage", "judge", "grade")


@cache
def _text(name: str) -> str:
    return (files(__package__) / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def fill(name: str, **values: object) -> str:
    """A prompt with its values; a value is put in as it is, dollar signs and all.

    Args:
        name: one of `NAMES`.
        values: what stands for each ``$name``; all of them.
    """
    return Template(_text(name)).substitute({key: str(value) for key, value in values.items()})


def version(name: str) -> str:
    """The hash of a prompt file, for provenance: 12 hexadecimal digits."""
    return hashlib.sha256(_text(name).encode()).hexdigest()[:12]
