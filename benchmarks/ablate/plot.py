"""The plot of an ablation: means with error bars over seeds, and differences from the reference point."""

from __future__ import annotations

import io
import statistics
import textwrap
from typing import TYPE_CHECKING, Any

from ..suite.plot import COLORS
from .results import CONFIDENCE, MEASURE, VARIANTS, Ablation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 10.0  # inches
LETTERS = 24  # in a line of a point's name
OFFSET = 0.17  # of alone and fused from the middle of a point's row
_STYLE: dict[str, Any] = {
    "font.size": 8.5,
    "text.color": COLORS["ink"],
    "axes.edgecolor": COLORS["line"],
    "axes.labelcolor": COLORS["soft"],
    "xtick.color": COLORS["soft"],
    "ytick.color": COLORS["ink"],
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "text.parse_math": False,  # names may contain a $
}
_VARIANT_COLORS = {"alone": COLORS["s0"], "fused": COLORS["s1"]}


def png(found: Ablation) -> bytes:
    """Draw both parts.

    Args:
        found: the results.

    Returns:
        The image.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        height = 1.5 + 0.52 * len(found.points)
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=COLORS["paper"])
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_means(left, found)
        _draw_differences(right, found)
        names = list(found.points)
        left.set_yticks(range(len(names)), ["\n".join(textwrap.wrap(name, LETTERS)) for name in names])
        left.set_ylim(len(names) - 0.45, -0.55)
        for axes in (left, right):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(length=0)
            axes.grid(axis="x", color=COLORS["line"], linewidth=0.5)
            for row in range(1, len(names)):
                axes.axhline(row - 0.5, color=COLORS["line"], linewidth=0.5)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=160)
    return image.getvalue()


def _draw_means(axes: Axes, found: Ablation) -> None:
    """Each seed as a small dot; their mean with its interval above the dots."""
    first = statistics.fmean(found.measured[0].first_stage.values())
    axes.axvline(first, color=COLORS["soft"], linewidth=0.9, linestyle="--", label="first stage")
    for number, variant in enumerate(VARIANTS):
        color, offset = _VARIANT_COLORS[variant], OFFSET * (2 * number - 1)
        for row, name in enumerate(found.points):
            y, spread = row + offset, found.spreads[variant][name]
            if spread.interval is not None:
                axes.plot(spread.interval, [y, y], color=color, linewidth=1.3)
            label = variant if row == 0 else None
            axes.plot(spread.mean, y, "o", color=color, markersize=5.5, label=label, linestyle="none")
            if spread.n > 1:
                seeds = [run.mean(variant) for run in found.of(name)]
                axes.plot(seeds, [y] * len(seeds), "|", color=COLORS["ink"], markersize=6, markeredgewidth=0.8)
    axes.plot([], [], "|", color=COLORS["ink"], markersize=6, linestyle="none", label="a seed")
    axes.set_title(f"{MEASURE} with its {CONFIDENCE:.0%} interval over seeds", loc="left", fontsize=9.5, pad=24)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, borderaxespad=0.2, handletextpad=0.4)


def _draw_differences(axes: Axes, found: Ablation) -> None:
    """Two intervals of each difference: over the seeds, and over the collections."""
    axes.axvline(0, color=COLORS["soft"], linewidth=0.9)
    for number, variant in enumerate(VARIANTS):
        color, offset = _VARIANT_COLORS[variant], OFFSET * (2 * number - 1)
        for row, name in enumerate(found.points):
            difference = found.differences[variant].get(name)
            if difference is None:
                continue
            y = row + offset
            if difference.collections.interval is not None:
                axes.plot(difference.collections.interval, [y, y], color=color, linewidth=4.5, alpha=0.25)
            if difference.seeds.interval is not None:
                axes.plot(difference.seeds.interval, [y, y], color=color, linewidth=1.3)
            axes.plot(difference.seeds.difference, y, "o", color=color, markersize=5.5)
    if found.reference in found.points:
        box = {"facecolor": COLORS["paper"], "edgecolor": "none", "pad": 2}
        row = list(found.points).index(found.reference)
        axes.text(0, row, "the reference", ha="center", va="center", color=COLORS["soft"], bbox=box)
    axes.plot([], [], color=COLORS["soft"], linewidth=1.3, label="over seeds")
    axes.plot([], [], color=COLORS["soft"], linewidth=4.5, alpha=0.35, label="over collections")
    axes.set_title(f"Difference from {found.reference}", loc="left", fontsize=9.5, pad=24)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2)
