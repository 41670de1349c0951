"""The demo's chart: one bar for each query, sorted by difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from limrank_ir.demo.wording import TONES, signed, state

HEIGHT = 200
EDGE = 16
FEWEST = 12  # bars for which there is room at least; a single one would fill the chart
THINNEST = 1.5  # so that a bar of height 0 can be seen


def bar_chart(deltas: Sequence[float], queries: Sequence[str]) -> dict[str, Any]:
    """Lay out the bars, the largest gain first.

    Args:
        deltas: the differences, at least one.
        queries: their queries.

    Returns:
        What the template draws. Horizontal positions and widths are in percent, vertical ones in pixels.
    """
    high, low = _reach(deltas), _reach([-delta for delta in deltas])
    unit = (HEIGHT - 2 * EDGE) / (high + low)
    zero = EDGE + high * unit
    slot = 100 / max(len(deltas), FEWEST)
    bars = []
    for place, number in enumerate(sorted(range(len(deltas)), key=lambda n: (-deltas[n], n))):
        delta = deltas[number]
        height = max(abs(delta) * unit, THINNEST)
        bars.append(
            {
                "target": f"q{number + 1}",
                "label": f"{signed(delta)}  {queries[number]}",
                "tone": TONES[state(delta)],
                "slot_x": f"{place * slot:.3f}",
                "slot_width": f"{slot:.3f}",
                "x": f"{(place + 0.12) * slot:.3f}",
                "width": f"{slot * 0.76:.3f}",
                "y": f"{zero - height if delta > 0 else zero:.1f}",
                "height": f"{height:.1f}",
            }
        )
    return {
        "height": HEIGHT,
        "lines": [(f"{EDGE}", ""), (f"{zero:.0f}", "zero"), (f"{HEIGHT - EDGE}", "")],
        "high": signed(high, 2),
        "low": signed(-low, 2),
        "bars": bars,
    }


def _reach(deltas: Sequence[float]) -> float:
    """How far the scale goes to one side: a multiple of a quarter, and at least a quarter."""
    return max(math.ceil(max(deltas) * 4) / 4, 0.25)
