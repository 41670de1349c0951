"""``python -m limrank_ir``: the command line, for when ``limrank`` is not on the path."""

from __future__ import annotations

from limrank_ir.cli.app import main

main()
