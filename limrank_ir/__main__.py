"""``python -m limrank_ir``: the command line, where no ``limrank`` is on the path."""

from __future__ import annotations

from limrank_ir.cli.app import main

main()
