"""Where figures come from: versions, hardware, the command."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .machine import instruction_sets, memory, processor

PACKAGES = (
    "limrank-ir",
    "torch",
    "transformers",
    "peft",
    "sentence-transformers",
    "vllm",
    "mteb",
    "pyserini",
    "rank-llm",
    "bm25s",
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
        Name to value; what cannot be found out is left out.
    """
    import torch

    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    facts = {
        "command": command,
        "commit": commit(Path(__file__)),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": torch.cuda.get_device_name(name) if name.startswith("cuda") else processor(),
        "processor": processor() if name.startswith("cuda") else "",
        "instruction sets": ", ".join(instruction_sets()),
        "memory": memory(),
        "device": name,
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }
    return {fact: value for fact, value in facts.items() if value}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def commit(file: Path) -> str:
    """The commit of the checkout that a file belongs to.

    Args:
        file: a file of the code.

    Returns:
        The commit's hash, followed by ``with changes`` if tracked files differ from it. Empty if git is not installed,
        or does not know the file: an installed package may lie in somebody else's checkout.
    """
    if _git(file, "ls-files", "--error-unmatch", file.name) is None:
        return ""
    found = _git(file, "rev-parse", "HEAD")
    if found is None:
        return ""
    return f"{found} with changes" if _git(file, "status", "--porcelain", "--untracked-files=no") else found


def _git(file: Path, *arguments: str) -> str | None:
    """What git prints, or None if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", file.parent, *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def command_line() -> str:
    """The command that is running, as one could type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
