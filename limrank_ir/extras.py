"""Extras: optional packages that a plain install does not include, and how to install them."""

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
    "average": "train",
    "export": "train",
}
"""For each command, the extra that installs everything it may need beyond a plain install."""


def need(who: str, extra: str, *packages: str) -> None:
    """Check that packages are installed, before the work that needs them begins.

    Args:
        who: what needs them, for the error message.
        extra: the extra that installs them.
        *packages: the names under which they are imported.

    Raises:
        InputError: some are not installed; the message names them and the extra.
    """
    if missing := [package for package in packages if not installed(package)]:
        raise InputError(f"{who} needs {', '.join(missing)}; run: {install(extra)}")


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'limrank-ir[{extra}]'"


def installed(package: str) -> bool:
    """Whether a package is installed. It is not imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # an import hook hides it, or it was only partly removed
        return False
