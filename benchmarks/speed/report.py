"""The speed benchmark's tables, for the terminal and for results.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..markdown import Table, markdown
from .contenders import CROSS_ENCODER, LIMIT, OURS, PLAIN, PLAIN_BATCH

LABELS = {
    PLAIN: f"transformers, plain loop, batches up to {PLAIN_BATCH}",
    CROSS_ENCODER: "sentence-transformers, CrossEncoder",
    OURS: "LimRank-IR, local engine",
    LIMIT: "matrix products alone (limit)",
}


def label(row: dict[str, Any]) -> str:
    """A contender's name in tables."""
    name = LABELS.get(row["kind"], f"LimRank-IR, {row['kind']}")
    return f"{name}, {row['precision']}"


def cell_names(figures: dict[str, Any]) -> list[str]:
    """The cells' names: passage length and candidates."""
    return [f"{cell['length']} x {cell['candidates']}" for cell in figures["cells"]]


def rates(figures: dict[str, Any]) -> Table:
    """Pairs per second: header and rows."""
    rows = [
        [label(row), *map(_rate, row["pairs_per_second"]), _gap(row.get("largest_score_difference"))]
        for row in (*figures["contenders"], *figures["limits"])
    ]
    return ["pairs/s", *cell_names(figures), "score gap"], rows


def ratios(figures: dict[str, Any], name: str) -> Table:
    """Each contender beside the plain loop (``to_plain``) or the limit (``of_limit``) of its precision."""
    write = "{:.1f}x".format if name == "to_plain" else "{:.0%}".format
    head = "times the plain loop" if name == "to_plain" else "share of the limit"
    rows = [[label(row), *map(write, row[name])] for row in figures["contenders"]]
    return [head, *cell_names(figures)], rows


def facts(figures: dict[str, Any]) -> list[str]:
    """What was measured, on what: one line each."""
    cells = {cell["length"]: cell for cell in figures["cells"]}.values()  # the largest of each length
    tokens = [
        f"{cell['length']} {cell['passage_tokens']['shortest']}-{cell['passage_tokens']['longest']} "
        f"(mean {cell['passage_tokens']['mean']:.0f})"
        for cell in cells
    ]
    limits = [
        f"{limit['precision']} {limit['flops'] / 1e9:,.0f} {_unit(limit)} ({_kernels(limit)})"
        for limit in figures["limits"]
    ]
    versions = [f"{name} {version}" for name, version in figures["versions"].items()]
    sets = figures["instruction_sets"]
    lines = [
        f"passages' tokens: {', '.join(tokens)}, after {cells_shared(figures)} that all passages of a query share",
        f"{_rounds(figures['repeats'])}; the plain loop and CrossEncoder read at most {figures['sample']} of the "
        "candidates, spread over their lengths, once for each length: their rates do not depend on the number",
        f"score gap: the largest difference in log-odds from the plain loop in {figures['limits'][0]['precision']}",
        f"limits, by PyTorch's {figures['kernels_of_torch']} and oneDNN's {figures['kernels_of_onednn'] or 'best'} "
        f"kernels: {'; '.join(limits)}",
        f"{figures['device']}: {figures['hardware']}, {_threads(figures)}",
        f"instruction sets: {', '.join(sets) if sets else 'unknown'}",
        ", ".join(versions),
    ]
    if figures["load_before"] is not None:
        lines.append(
            f"load of the machine just before: {figures['load_before']:.1f} programs on {_threads(figures)}; "
            "on a machine that is not quiet, compare only figures of one run"
        )
    if figures["peak_memory"]:
        lines.append(f"peak memory {figures['peak_memory'] / 2**30:.1f} GiB, all contenders together")
    return lines


def cells_shared(figures: dict[str, Any]) -> str:
    """How many tokens the passages of a query share."""
    found = sorted({cell["shared_tokens"] for cell in figures["cells"]})
    return str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"


def report(figures: dict[str, Any], command: str) -> str:
    """results.md.

    Args:
        figures: what `limrank_ir.benchmarks.speed.measure.measure` returned.
        command: the command line.

    Returns:
        Markdown.
    """
    lines = [
        f"# Speed of {figures['model']}",
        "",
        "One query and its candidates: the same weights, prompts, and passages for all. A column is a length of "
        "passages and the number of candidates.",
        "",
        markdown(rates(figures)),
        "",
        markdown(ratios(figures, "to_plain")),
        "",
        markdown(ratios(figures, "of_limit")),
        "",
        "![Pairs per second by length of passages](plot.png)",
        "",
        "## Where the figures come from",
        "",
        f"- `{command}`",
        *(f"- {line}" for line in facts(figures)),
    ]
    return "\n".join([*lines, ""])


def _rounds(repeats: int) -> str:
    return "one round" if repeats == 1 else f"the best of {repeats} rounds"


def _rate(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _threads(figures: dict[str, Any]) -> str:
    return f"{figures['threads']} thread{'' if figures['threads'] == 1 else 's'}"


def _gap(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _unit(limit: dict[str, Any]) -> str:
    return "GOP/s" if limit["precision"] == "int8" else "GFLOP/s"


def _kernels(limit: dict[str, Any]) -> str:
    names: Sequence[str] = [kernel.partition(",")[0] for kernel in limit["kernels"].values()]
    return ", ".join(dict.fromkeys(names))
