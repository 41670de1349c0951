"""``limrank judge``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import write_json, write_stdout
from limrank_ir.models import DEFAULT


def judge(
    query: Annotated[str, typer.Argument(help="The query.")],
    passage: Annotated[str, typer.Argument(help="The passage, or - to read it from stdin.")],
    instruction: Annotated[
        str | None, typer.Option("--instruction", "-i", metavar="TEXT", help="What makes a passage relevant.")
    ] = None,
    model: o.ModelName = DEFAULT,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormatName = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    max_length: o.MaxLength = None,
    allow_mismatch: o.AllowMismatch = False,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    r"""Judge one passage: whether it is relevant to the query, how likely, and why.

    For example:

        limrank judge "how do I copy a file?" \
            "shutil.copy(src, dst) copies the file src." --think always
    """
    from limrank_ir.ranking.candidates import verdict_record
    from limrank_ir.reranker import LimRank

    if not query.strip():
        raise InputError("the query is empty; give its text")
    passage = _passage(passage)
    limrank = LimRank(
        model,
        adapter=adapter,
        prompt_format=prompt_format,
        think=think,
        budget=budget,
        engine=engine,
        engine_options=o.engine_options(engine_option),
        device=device,
        dtype=dtype,
        max_length=max_length,
        allow_mismatch=allow_mismatch or None,
    )
    with console.progress(limrank.model.name, 1, "pairs") as advance:
        (verdict,) = limrank.judge([(query, passage, instruction)], progress=advance)
    label = "true" if verdict.log_odds > 0 else "false"
    if as_json:
        write_json({"verdict": label, "model": limrank.model.name, **verdict_record(verdict)})
        return
    if verdict.reasoning:
        write_stdout(f"{verdict.reasoning.strip()}\n\n")
    write_stdout(f"{label}  (probability of true {verdict.probability:.4f}, log-odds {verdict.log_odds:+.4f})\n")


def _passage(text: str) -> str:
    """The passage; ``-`` reads it from stdin."""
    if text == "-":
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"stdin: not UTF-8 (byte {error.object[error.start]:#04x}); convert it") from error
    if not text.strip():
        raise InputError("the passage is empty; give its text, or - to read it from stdin")
    return text
