"""``limrank rankers``: the ways to rank, what they cost, and the formats in which they ask."""

from __future__ import annotations

from typing import Any

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.formats.output import write_json

CANDIDATES = 100  # for which calls are counted


def list_rankers(as_json: o.Json = False) -> None:
    """List the rankers that `limrank rerank --ranker` takes, with the formats that `--set-format` takes for each.

    Options follow a colon, such as setwise:top=10,window=4. Each reads labels or lets the model write; calls are the
    most that 100 documents cost. The default formats are for models that were trained on none of them.

    For example:

        limrank rankers
    """
    rows = ranker_rows()
    if as_json:
        write_json(rows)
    else:
        header = ["ranker", "what it does", "asks", "formats", "options", f"calls for {CANDIDATES}"]
        console.table(header, [_cells(row) for row in rows], left=len(header) - 1)


def ranker_rows() -> list[dict[str, Any]]:
    """What is known about each ranker."""
    import dataclasses

    from limrank_ir.rankers.fit import default_formats, formats_of, tasks
    from limrank_ir.rankers.named import SUMMARIES, as_ranker

    rows: list[dict[str, Any]] = []
    for name, summary in SUMMARIES.items():
        ranker = as_ranker(name)
        asked = sorted({"writes" if writes else "reads" for _, writes in tasks(ranker)})
        fields = [field.name for field in dataclasses.fields(ranker)]  # type: ignore[arg-type]
        rows.append(
            {
                "ranker": name,
                "summary": summary,
                "asks": asked,
                "formats": formats_of(ranker),
                "options": fields,
                "calls": ranker.calls(CANDIDATES),
                "default_formats": default_formats(ranker),
            }
        )
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row, with the default formats marked."""
    defaults = row["default_formats"]
    formats = [f"{name} (default)" if name in defaults else name for name in row["formats"]]
    shown = {**row, "formats": formats}
    return [
        ", ".join(cell) if isinstance(cell, list) else str(cell)
        for name, cell in shown.items()
        if name != "default_formats"
    ]
