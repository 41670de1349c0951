"""Extras: what a plain install does not have, and how to get it."""

from __future__ import annotations

import importlib.util

from limrank_ir.errors import InputError

EXTRAS = {
    "retrieve": "dense",
    "eval": "pyterrier",
    "demo": "pyterrier",
    "rerank": "pyserini",
    "requests": "pyserini",
    "rank-llm": "rank-llm",
    "serve": "serve",
    "bench": "bench",
    "synth": "synth",
    "train": "train",
    "export": "train",
}
"""Command to the extra that has all that it may need beyond a plain install."""


def need(who: str, extra: str, *packages: str) -> None:
    """Make sure that packages are there before anything is begun that needs them.

    Args:
        who: what needs them, for the error message.
        extra: the extra of this package that installs them.
        *packages: their names, as they are imported.

    Raises:
        InputError: some are not installed; the message names them, and the extra.
    """
    if missing := [package for package in packages if not installed(package)]:
        raise InputError(f"{who} needs {', '.join(missing)}; run: {install(extra)}")


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'limrank-ir[{extra}]'"


def installed(package: str) -> bool:
    """Whether a package is installed; it is not imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # hidden by an import hook, or half removed
        return False
