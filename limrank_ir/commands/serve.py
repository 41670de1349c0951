"""``limrank serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir import console
from limrank_ir import options as o
from limrank_ir.errors import InputError
from limrank_ir.models import DEFAULT


def serve(
    model: o.ModelName = DEFAULT,
    host: Annotated[str, typer.Option(metavar="NAME", help="Address; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port.")] = 8787,
    token: Annotated[
        str | None,
        typer.Option(envvar="LIMRANK_TOKEN", metavar="TEXT", help="What clients must send as a bearer token."),
    ] = None,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormat = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps verdicts: what is in it is not computed again.")
    ] = None,
    max_documents: Annotated[int, typer.Option(min=1, metavar="N", help="The most documents of a request.")] = 1000,
    max_bytes: Annotated[int, typer.Option(min=1, metavar="N", help="The most bytes of a request.")] = 10_000_000,
    queue: Annotated[
        int, typer.Option(min=1, metavar="N", help="The most pairs that wait; beyond it the answer is 429.")
    ] = 5000,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="The most pairs that are judged together.")] = 256,
    device: o.Device = None,
    dtype: o.Dtype = None,
    max_length: o.MaxLength = None,
    quiet: o.Quiet = False,
) -> None:
    """Serve the reranker over HTTP, for clients of Jina's and Cohere's rerank API.

    For example:

        limrank serve &
        curl localhost:8787/v2/rerank -H "Content-Type: application/json" \
            -d '{"query": "copy a file", "documents": ["cp copies files", "bake a cake"]}'
    """
    try:
        import uvicorn

        from limrank_ir.http import Limits, create_app
    except ImportError as error:
        raise InputError(f"serve needs {error.name}; run: pip install 'limrank-ir[serve]'") from error
    from limrank_ir.reranker import LimRank

    limrank = LimRank(
        model,
        adapter=adapter,
        prompt_format=prompt_format,
        think=think,
        budget=budget,
        store=store,
        device=device,
        dtype=dtype,
        max_length=max_length,
    )
    limrank.load()
    limits = Limits(documents=max_documents, bytes=max_bytes, queue=queue, batch=batch)
    console.log.info("%s serves http://%s:%d/v1/rerank and /v2/rerank; Ctrl-C ends it", limrank.model.name, host, port)
    uvicorn.run(create_app(limrank, token=token, limits=limits), host=host, port=port, log_level="warning")
