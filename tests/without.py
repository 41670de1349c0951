"""Run the command line as if some packages were not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

# Importing a hidden package must fail, and importlib.util.find_spec must return None for it. The finder below can hide
# a package only by raising, and find_spec would pass that error on, so find_spec is replaced, too.
_CODE = """
import importlib.util, sys

hidden = frozenset(sys.argv[1].split(","))
find_spec = importlib.util.find_spec

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def visible(name, package=None):
    top, _, below = name.partition(".")
    if top not in hidden:
        return find_spec(name, package)
    if below:
        raise ModuleNotFoundError(f"No module named {top!r}", name=top)
    return None

sys.meta_path.insert(0, Hide())
importlib.util.find_spec = visible
sys.argv = ["limrank", *sys.argv[2:]]

from limrank_ir.cli.app import main

main()
"""


def run_without(packages: Sequence[str], arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run ``limrank ARGUMENTS`` in a process in which some packages seem not to be installed.

    Args:
        packages: their top-level import names.
        arguments: the arguments of the command line.

    Returns:
        The finished process, with ``returncode``, ``stdout``, and ``stderr``.
    """
    command = [sys.executable, "-c", _CODE, ",".join(packages), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
