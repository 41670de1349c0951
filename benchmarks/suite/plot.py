"""The plots: means over the collections, and the difference from the first stage on each of them."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from ..systems.system import FIRST_STAGE
from .results import PRIMARY, SuiteReport, significant, summaries
from .tables import SIGNIFICANT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colors of the light page. In SVG, each becomes a CSS variable, which has a different value on dark screens.
COLORS = {
    "paper": "#fcfcfa",
    "ink": "#1c1d1b",
    "soft": "#5d605a",
    "line": "#dcddd6",
    "s0": "#0a6b66",
    "s1": "#b5532a",
    "s2": "#5f4fa8",
    "s3": "#2f6db2",
    "s4": "#a83a73",
    "s5": "#75711a",
}
SYSTEM_COLORS = 6  # s0 to s5; more systems start over
WIDE, NARROW = 10.0, 3.9  # inches
LEGEND_COLUMNS, LEGEND_LETTERS = 5, 110  # at most, in a line of the wide legend
_STYLE: dict[str, Any] = {
    "font.size": 8.5,
    "text.color": COLORS["ink"],
    "axes.edgecolor": COLORS["line"],
    "axes.labelcolor": COLORS["soft"],
    "xtick.color": COLORS["soft"],
    "ytick.color": COLORS["ink"],
    "xtick.labelcolor": COLORS["soft"],
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names may contain a $
}


def png(report: SuiteReport) -> bytes:
    """Both plots in one image."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    heights = [_means_height(report, WIDE), _differences_height(report)]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDE, sum(heights)), layout="constrained", facecolor=COLORS["paper"])
        upper, lower = figure.subplots(2, height_ratios=heights)
        _draw_means(upper, report, WIDE)
        upper.set_title(f"{PRIMARY}, mean over {len(report.collections)} collections", loc="left", fontsize=9.5)
        _draw_differences(lower, report, WIDE)
        rows = -(-(len(_rows(report)) + 2) // _legend_columns(report))
        lower.set_title(f"{PRIMARY}: difference from the first stage", loc="left", fontsize=9.5, pad=8 + 14 * rows)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=160)
    return image.getvalue()


def means_svg(report: SuiteReport, width: float) -> str:
    """Means over the collections, as SVG for the page."""
    return _svg(_means_height(report, width), width, lambda axes: _draw_means(axes, report, width), f"m{width:g}")


def differences_svg(report: SuiteReport, width: float) -> str:
    """Differences from the first stage by collection, as SVG for the page."""
    return _svg(_differences_height(report), width, lambda axes: _draw_differences(axes, report, width), f"d{width:g}")


def _svg(height: float, width: float, draw: Any, salt: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Ids must differ between the plots of a page.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure: Figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        draw(figure.subplots())
        image = io.StringIO()
        figure.savefig(
            image, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = image.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'\bid="(?!m[0-9a-f]{10})(?!p[0-9a-f]{10})[^"]*"', "", text)  # figure_1, axes_1: in all plots
    for name, color in COLORS.items():
        text = text.replace(color, f"var(--{name})")
    return text


def _means_height(report: SuiteReport, width: float) -> float:
    lines = max(_wrap(label, width).count("\n") + 1 for label in report.labels)
    return 0.5 + max(0.24, 0.04 + 0.14 * lines) * len(report.labels)


def _differences_height(report: SuiteReport) -> float:
    systems = max(len(_rows(report)), 1)
    return 1.1 + (0.14 + 0.09 * systems) * len(report.collections)


def _draw_means(axes: Axes, report: SuiteReport, width: float) -> None:
    rows = [summary for summary in summaries(report.results, PRIMARY) if not summary.combined]
    colors = _colors(report)
    for y, row in enumerate(rows):
        color = colors.get(row.label, COLORS["soft"])
        filled = row.label.endswith(", fused") or row.label == FIRST_STAGE or row.label in report.fusions
        face = color if filled else "none"
        axes.barh(y, row.mean, height=0.62, facecolor=face, edgecolor=color, linewidth=1.2)
        axes.annotate(f"{row.mean:.3f}", (row.mean, y), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [_wrap(row.label, width) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(row.mean for row in rows) * 1.12 or 1)
    _style_axes(axes, width)


def _draw_differences(axes: Axes, report: SuiteReport, width: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.transforms import blended_transform_factory

    colors = _colors(report)
    names = list(report.collections)
    systems = _rows(report)
    for row, name in enumerate(names):
        found = report.on(name)
        first = report.first_stage(name).mean[PRIMARY]
        axes.axhline(row, color=COLORS["line"], linewidth=0.6)
        for number, system in enumerate(systems):
            y = row + (number - (len(systems) - 1) / 2) * 0.6 / max(len(systems), 1)
            pair = [found[label] for label in (system, f"{system}, fused") if label in found]
            values = [result.mean[PRIMARY] - first for result in pair]
            color = colors[system]
            axes.plot(values, [y] * len(values), color=color, linewidth=0.9, alpha=0.55, zorder=2)
            for value, result in zip(values, pair, strict=True):
                face = COLORS["paper"] if result.variant == "alone" else color
                axes.plot(value, y, "o", markersize=4.6, markerfacecolor=face, markeredgecolor=color, zorder=3)
                if significant(result, PRIMARY):
                    axes.annotate(
                        SIGNIFICANT,
                        (value, y),
                        (0, 3),
                        textcoords="offset points",
                        ha="center",
                        fontsize=7,
                        color=color,
                    )
    axes.axvline(0, color=COLORS["soft"], linewidth=0.9, zorder=1)
    axes.set_yticks(range(len(names)), [_wrap(name, width) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    marks = [
        Line2D([], [], color=colors[system], marker="o", markersize=4.6, linewidth=0.9, label=system)
        for system in systems
    ]
    for label, face in (("alone", COLORS["paper"]), ("fused", COLORS["soft"])):
        marks.append(
            Line2D([], [], color="none", marker="o", markersize=4.6, markerfacecolor=face,
                   markeredgecolor=COLORS["soft"], label=label)
        )  # fmt: skip
    wide = width > WIDE / 2
    # On a narrow page, the legend starts at the page's edge, where long names have room.
    edge = axes.transAxes if wide else blended_transform_factory(axes.figure.transFigure, axes.transAxes)
    axes.legend(
        handles=marks,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=edge,
        ncols=min(len(marks), _legend_columns(report)) if wide else 1,
        frameon=False,
        borderaxespad=0.2,
    )
    _style_axes(axes, width)


def _legend_columns(report: SuiteReport) -> int:
    """How many names of the wide legend fit in a line."""
    return max(1, min(LEGEND_COLUMNS, LEGEND_LETTERS // max(map(len, _rows(report)), default=1)))


def _rows(report: SuiteReport) -> list[str]:
    """What has a line of its own for each collection: a reranker, alone and fused, or a fusion of several."""
    return [*report.systems, *report.fusions]


def _colors(report: SuiteReport) -> dict[str, str]:
    """A color for each reranker, by its labels alone and fused."""
    colors = {}
    for number, system in enumerate(_rows(report)):
        colors[system] = colors[f"{system}, fused"] = COLORS[f"s{number % SYSTEM_COLORS}"]
    return colors


def _style_axes(axes: Axes, width: float) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=COLORS["line"], linewidth=0.5)
    axes.locator_params(axis="x", nbins=6 if width > WIDE / 2 else 4)


def _wrap(label: str, width: float) -> str:
    """A long name on several lines, broken after punctuation."""
    lines = [""]
    for part in re.findall(r"[^-_+, ]*[-_+, ]*", label):
        if len(lines[-1]) + len(part) > (48 if width > WIDE / 2 else 22) and lines[-1]:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
