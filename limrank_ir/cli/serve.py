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
from limrank_ir.cli.by_ranker import read_ranker
from limrank_ir.errors import InputError
from limrank_ir.models import DEFAULT


def serve(
    model: o.ModelName = DEFAULT,
    host: Annotated[str, typer.Option(metavar="NAME", help="Address; 0.0.0.0 accepts other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port.")] = 8787,
    token: Annotated[
        str | None,
        typer.Option(envvar="LIMRANK_TOKEN", metavar="TEXT", help="Bearer token that clients must send."),
    ] = None,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormatName = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File that keeps verdicts, so they are computed only once.")
    ] = None,
    max_documents: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum documents per request.")] = 1000,
    max_bytes: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum bytes per request.")] = 10_000_000,
    queue: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum pairs and questions of requests in progress; else 429.")
    ] = 5000,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum passages processed together.")] = 256,
    max_questions: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum questions of a ranker per request.")
    ] = 2000,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    max_length: o.MaxLength = None,
    allow_mismatch: o.AllowMismatch = False,
    window: o.Window = None,
    stride: o.Stride = None,
    ranker: o.RankerName = None,
    set_format: o.SetFormats = None,
    quiet: o.Quiet = False,
) -> None:
    r"""Serve the reranker over HTTP for clients of the Cohere, Jina, and text-embeddings-inference rerank APIs.

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
    from limrank_ir.rankers.named import spec
    from limrank_ir.ranking.windows import windows
    from limrank_ir.reranker import LimRank
    from limrank_ir.store import VerdictStore

    _check_token(token)
    by = read_ranker(ranker, set_format, {"--window": window, "--stride": stride})
    split = windows(window, stride)
    with _bound_socket(host, port) as listener:
        limrank = LimRank(
            model,
            adapter=adapter,
            prompt_format=prompt_format,
            think=think,
            budget=budget,
            store=None if store is None else VerdictStore(store),  # opened now, so that a bad store fails at the start
            engine=engine,
            engine_options=o.engine_options(engine_option),
            device=device,
            dtype=dtype,
            max_length=max_length,
            allow_mismatch=allow_mismatch or None,
        )
        if by is None:
            limrank.need_verdicts()
        limits = Limits(documents=max_documents, bytes=max_bytes, queue=queue, batch=batch, questions=max_questions)
        app = create_app(limrank, token=token, limits=limits, windows=split, ranker=by, set_formats=set_format or ())
        limrank.load()
        # The model stays in memory, so exclude it from garbage collection. Collect rarely: parsing a request with a
        # million values would trigger many collections, and each stops all threads, including the one for /health.
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        with _address_errors(host, port):
            listener.listen()
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{listener.getsockname()[1]}"
        served = limrank.model.name + ("" if by is None else f" with {spec(by)}")
        console.log.info(f"{served} serves {url}/v1/rerank, /v2/rerank and /rerank; press Ctrl-C to stop")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def _check_token(token: str | None) -> None:
    """Reject an empty token, which would leave the server open, and one that a header cannot hold."""
    if token is None and os.environ.get("LIMRANK_TOKEN") == "":  # typer treats it as not set
        token = ""
    if token is not None and not (token and token.isprintable() and token == token.strip()):
        problem = "has spaces around it or unprintable characters" if token.strip() else "is empty"
        raise InputError(f"the token {problem}; fix --token or LIMRANK_TOKEN, or unset both to allow everyone")


def _bound_socket(host: str, port: int) -> socket.socket:
    """Reserve the port before the model loads. Clients can connect only when the socket listens."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if os.name == "posix":
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # allows a restart right after a server stopped
    with _address_errors(host, port):
        bound.bind((host, port))
    return bound


@contextmanager
def _address_errors(host: str, port: int) -> Iterator[None]:
    """Turn errors about the address into one line."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE:
            message = f"port {port} on {host} is in use; stop the program that uses it, or choose another --port"
        elif number == errno.EACCES:
            message = f"no permission to use port {port} on {host}; choose a --port above 1023"
        else:
            reason = getattr(error, "strerror", None) or error
            message = f"{host!r} is not an address of this machine ({reason}); choose another --host"
        raise InputError(message) from error
