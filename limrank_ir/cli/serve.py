"""``limrank serve``."""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
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
    prompt_format: o.PromptFormatName = None,
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
    dtype: o.DtypeName = None,
    max_length: o.MaxLength = None,
    allow_mismatch: o.AllowMismatch = False,
    window: o.Window = None,
    stride: o.Stride = None,
    quiet: o.Quiet = False,
) -> None:
    r"""Serve the reranker over HTTP, for clients of Cohere's, Jina's and text-embeddings-inference's rerank APIs.

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
    from limrank_ir.ranking.windows import windows
    from limrank_ir.reranker import LimRank
    from limrank_ir.store import VerdictStore

    _check_token(token)
    split = windows(window, stride)
    with _bound(host, port) as taken:
        limrank = LimRank(
            model,
            adapter=adapter,
            prompt_format=prompt_format,
            think=think,
            budget=budget,
            store=None if store is None else VerdictStore(store),  # opened now: a bad one is no request's fault
            device=device,
            dtype=dtype,
            max_length=max_length,
            allow_mismatch=allow_mismatch or None,
        )
        limrank.load()
        # The model stays. And a body with a million values is read with few collections on the way: each of them stops
        # all threads, the one that answers /health among them.
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        limits = Limits(documents=max_documents, bytes=max_bytes, queue=queue, batch=batch)
        server = uvicorn.Server(
            uvicorn.Config(create_app(limrank, token=token, limits=limits, windows=split), log_level="warning")
        )
        with _mended_by_another_port(host, port):
            taken.listen()
        place = f"http://{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}"
        console.log.info("%s serves %s/v1/rerank, /v2/rerank and /rerank; Ctrl-C ends it", limrank.model.name, place)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[taken])


def _check_token(token: str | None) -> None:
    """Refuse a token that is there and empty, with which the server would be open, and one that no header can hold."""
    if token is None and os.environ.get("LIMRANK_TOKEN") == "":  # typer takes it for one that is not set
        token = ""
    if token is not None and not (token and token.isprintable() and token == token.strip()):
        said = "has blanks around it, or signs that cannot be printed" if token.strip() else "is empty"
        raise InputError(f"the token {said}; mend --token or LIMRANK_TOKEN, or unset both to let anybody ask")


def _bound(host: str, port: int) -> socket.socket:
    """Take the port before the model loads. Nobody is let in before the socket listens."""
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if os.name == "posix":
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is not in the way
    with _mended_by_another_port(host, port):
        taken.bind((host, port))
    return taken


@contextmanager
def _mended_by_another_port(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE:
            said = f"port {port} of {host} is in use; end what uses it, or choose another --port"
        elif number == errno.EACCES:
            said = f"port {port} of {host} is not for you to use; choose a --port above 1023"
        else:
            reason = getattr(error, "strerror", None) or error
            said = f"{host!r} is no address of this machine ({reason}); choose another --host"
        raise InputError(said) from error
