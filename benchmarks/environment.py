"""Where figures come from: versions, hardware, the command."""

from __future__ import annotations

import platform
import shlex
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .machine import processor

PACKAGES = (
    "limrank-ir",
    "torch",
    "transformers",
    "peft",
    "sentence-transformers",
    "pyterrier-pisa",
    "ir_measures",
    "pytrec_eval-terrier",
    "numpy",
    "scipy",
    "statsmodels",
)


def environment(command: str, device: str | None) -> dict[str, str]:
    """Describe the machine and what is installed.

    Args:
        command: the command line.
        device: the requested device, or None.

    Returns:
        Name to value.
    """
    import torch

    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": torch.cuda.get_device_name(name) if name.startswith("cuda") else processor(),
        "device": name,
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: found for package in PACKAGES if (found := _version(package))},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def command_line() -> str:
    """The command that is running, as one could type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
