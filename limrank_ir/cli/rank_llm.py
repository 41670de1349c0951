"""``limrank rank-llm``."""

from __future__ import annotations

import typer

from limrank_ir.extras import installed
from limrank_ir.formats.output import write_stdout


def rank_llm(context: typer.Context) -> None:
    r"""Run RankLLM's command line with support for limrank-* models.

    For example:

        limrank rank-llm --output json rerank --model-path limrank-smol \
            --stdin < request.json
    """
    if {"-h", "--help"} & set(context.args) and not installed("rank_llm"):
        write_stdout(context.get_help() + "\n")
        return
    from limrank_ir.rank_llm import main as rank_llm_main

    raise typer.Exit(rank_llm_main(context.args))
