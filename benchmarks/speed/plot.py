"""The plot: pairs per second by the length of passages, one panel for each number of candidates."""

from __future__ import annotations

import io
from typing import Any

from .contenders import CROSS_ENCODER, LIMIT, OURS, PLAIN
from .report import label

COLORS = {PLAIN: "#75711a", CROSS_ENCODER: "#b5532a", OURS: "#0a6b66", LIMIT: "#5d605a"}
OTHERS = ("#5f4fa8", "#2f6db2", "#a83a73")
LINES = ("-", "--", ":")  # one for each precision
STYLE: dict[str, Any] = {
    "font.size": 8.5,
    "text.color": "#1c1d1b",
    "axes.edgecolor": "#dcddd6",
    "axes.labelcolor": "#5d605a",
    "xtick.color": "#5d605a",
    "ytick.color": "#5d605a",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
}


def png(figures: dict[str, Any]) -> bytes:
    """Draw the figures.

    Args:
        figures: what `limrank_ir.benchmarks.speed.measure.measure` returned.

    Returns:
        A PNG image.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    cells = figures["cells"]
    counts = sorted({cell["candidates"] for cell in cells})
    rows = [*figures["contenders"], *figures["limits"]]
    precisions = list(dict.fromkeys(row["precision"] for row in rows))
    others = [kind for kind in dict.fromkeys(row["kind"] for row in rows) if kind not in COLORS]
    colors = COLORS | {kind: OTHERS[place % len(OTHERS)] for place, kind in enumerate(others)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(counts) + 3.8, 3.8), layout="constrained", facecolor="#fcfcfa")
        panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
        for axes, count in zip(panels, counts, strict=True):
            numbers = [number for number, cell in enumerate(cells) if cell["candidates"] == count]
            numbers.sort(key=lambda number: cells[number]["passage_tokens"]["mean"])
            lengths = [cells[number]["passage_tokens"]["mean"] for number in numbers]
            for row in rows:
                limit = row["kind"] == LIMIT
                axes.plot(
                    lengths,
                    [row["pairs_per_second"][number] for number in numbers],
                    color=colors[row["kind"]],
                    linestyle=LINES[precisions.index(row["precision"]) % len(LINES)],
                    marker="" if limit else "o",
                    markersize=3.5,
                    linewidth=1.0 if limit else 1.6,
                    label=label(row),
                )
            axes.set(xscale="log", yscale="log", facecolor="none")
            axes.set_xticks(
                lengths, [f"{cells[n]['length']}\n{cells[n]['passage_tokens']['mean']:.0f}" for n in numbers]
            )
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(axis="y", color="#dcddd6", linewidth=0.6)
            axes.set_title(f"{count} candidates", loc="left", fontsize=9.5)
            axes.set_xlabel("mean tokens of a passage")
        panels[0].set_ylabel("pairs per second")
        figure.suptitle(f"Speed of {figures['model']} on {figures['hardware']}", x=0.01, ha="left", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=160)
    return image.getvalue()
