"""Numbers and sentences of the demo's page."""

from __future__ import annotations

import math

from limrank_ir.formats.words import few

SAME = 0.0005
"""Smaller differences print as 0.000 and count as unchanged."""

STATES = ("improved", "unchanged", "worsened")
TONES = {"improved": "up", "unchanged": "same", "worsened": "down"}
"""Classes of the style sheet."""

MINUS = "\u2212"


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign, with a true minus sign. What rounds to zero has no sign."""
    if math.isnan(value):
        return "nan"
    text = f"{value:+.{digits}f}" if abs(value) < 1e4 else f"{value:+.2g}"
    if text.strip("+-0.") == "":
        return text.lstrip("+-")
    return text.replace("-", MINUS)


def duration(seconds: float) -> str:
    """A time: ``0.25 s``, ``81.4 s``, ``3.5 min``, ``2.1 h``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def delta(values: tuple[float, float]) -> float:
    """The difference of (before, after), or 0 if it is not finite."""
    difference = values[1] - values[0]
    return difference if math.isfinite(difference) else 0.0


def state(difference: float) -> str:
    """Which of `STATES` a difference is."""
    if abs(difference) < SAME:
        return "unchanged"
    return "improved" if difference > 0 else "worsened"


def probability(log_odds: float) -> str:
    """P(true), without claiming certainty."""
    value = (1.0 + math.tanh(log_odds / 2)) / 2
    if value > 0.9995:
        return "P(true) above 0.999"
    if value < 0.0005:
        return "P(true) below 0.001"
    return f"P(true) {value:.3f}"


def finding(measure: str, means: tuple[float, float] | None) -> tuple[str, str]:
    """The headline in two parts; a line break belongs between them."""
    if means is None:
        return "Nothing was measured", ""
    before, after = means
    direction = state(delta(means))
    if direction == "unchanged":
        return f"{measure} stays at {after:.3f}", ""
    verb = "rises" if direction == "improved" else "falls"
    return f"{measure} {verb} from {before:.3f}", f"to {after:.3f}"


def no_queries(first_stage: str, reranker: str) -> str:
    """What to say if there was nothing to do."""
    return f"There were no queries for {first_stage} and {reranker} to answer."


def comparison(first_stage: str, reranker: str, counts: dict[str, int]) -> str:
    """On how many queries the reranker is better, and what to think of so few."""
    queries = sum(counts.values())
    sentence = (
        f"Over {queries:,} {'query' if queries == 1 else 'queries'}, {reranker} does better than {first_stage} on "
        f"{counts['improved']:,}, the same on {counts['unchanged']:,}, and worse on {counts['worsened']:,}."
    )
    return f"{sentence} {few(queries)}".rstrip()


def cost(first_stage: str, seconds: tuple[float, float], pairs: int) -> str:
    """How long it took."""
    before, after = seconds
    sentence = (
        f"Reranking takes {duration(after)} where {first_stage} takes {duration(before)}, for "
        f"{pairs:,} {'pair' if pairs == 1 else 'pairs'} of query and passage"
    )
    if pairs == 0:
        return f"{sentence}."
    each = after / pairs
    rate = f"{each * 1000:.3g} ms per pair" if each < 0.9995 else f"{each:.2f} s per pair"
    return f"{sentence}: {rate}."


def where_from(rank: int, before: int | None) -> tuple[str, str]:
    """Where a reranked passage comes from: (sign, label)."""
    if before is None:
        return "new", "not in the top before reranking"
    if before == rank:
        return "=", "same rank as before"
    if before > rank:
        return f"▲{before - rank}", f"up from rank {before}"
    return f"▼{rank - before}", f"down from rank {before}"


def where_to(rank: int, after: int | None) -> tuple[str, str]:
    """Where a passage of the first stage goes: (sign, label)."""
    if after is None:
        return "out", "not in the top after reranking"
    if after == rank:
        return "=", "same rank after reranking"
    return f"→{after}", f"goes to rank {after}"
