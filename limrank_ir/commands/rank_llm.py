"""``limrank rank-llm``."""

from __future__ import annotations

import typer


def rank_llm(context: typer.Context) -> None:
    """RankLLM's own command line, which then knows limrank-* models.

    For example:

        limrank rank-llm rerank --model-path limrank-smol --stdin --output json < request.json
    """
    from limrank_ir.rank_llm import main as theirs

    raise typer.Exit(theirs(context.args))
