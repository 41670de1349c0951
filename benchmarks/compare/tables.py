"""A comparison as tables and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from ..markdown import Table, markdown
from .compare import RunComparison
from .measures import PERSISTENCE

SHOWN = 10  # queries in results.md and on the terminal, unless the user wants more


def orders(found: RunComparison) -> Table:
    """How close the orders of documents are."""
    undefined = sum(query.tau is None for query in found.queries)
    rows = [
        ["queries", f"{len(found.queries)}"],
        ["documents a query, at most", f"{found.depths[0]} and {found.depths[1]}"],
        ["documents with a tied score", f"{found.tied[0]} and {found.tied[1]}"],
        ["documents that both have", f"{found.overlap:.1%}"],
        ["Kendall's tau union", _number(found.tau)],
        [f"rank-biased overlap, p {PERSISTENCE:g}", f"{found.rbo:.4f}"],
    ]
    if undefined:
        rows.insert(5, ["queries without a tau", f"{undefined}"])
    return ["", "A and B"], rows


def effectiveness(found: RunComparison) -> Table:
    """The measures, one row each."""
    with_baselines = len(found.runs) > 2
    header = ["measure", "A", "B", "B - A", "95% CI", "W/T/L", "p", "RMSE"]
    rows = []
    for name, measure in found.measures.items():
        difference = measure.difference
        interval = difference.interval
        row = [name, f"{measure.original:.4f}", f"{measure.reproduced:.4f}", f"{difference.difference:+.4f}"]
        row.append("?" if interval is None else f"[{interval[0]:+.4f},{interval[1]:+.4f}]")
        row.append(f"{difference.wins}/{difference.ties}/{difference.losses}")
        row += [_number(difference.p), f"{measure.rmse:.4f}"]
        if with_baselines:
            row += [_number(measure.effect_ratio), _number(measure.delta_relative_improvement)]
        rows.append(row)
    return [*header, *(["ER", "DRI"] if with_baselines else [])], rows


def queries(found: RunComparison, shown: int = SHOWN) -> Table:
    """The queries with the largest differences in the first measure."""
    measure = next(iter(found.measures))
    rows = [
        [
            query.qid,
            f"{query.original[measure]:.4f}",
            f"{query.reproduced[measure]:.4f}",
            f"{query.difference(measure):+.4f}",
            _number(query.tau),
            f"{query.rbo:.4f}",
        ]
        for query in found.largest_differences[:shown]
    ]
    return ["query", f"A {measure}", f"B {measure}", "B - A", "tau", "RBO"], rows


def page(found: RunComparison, facts: Mapping[str, str]) -> str:
    """The comparison in Markdown: the tables, how to read them, and where the figures come from."""
    names = dict(zip(("A", "B", "A's baseline", "B's baseline"), found.runs, strict=False))
    lines = [
        "# Two runs, compared",
        "",
        *(f"- {name}: {run}" for name, run in names.items()),
        *(f"- {line}" for line in found.left_out),
        "",
        markdown(orders(found)),
        "",
        "Kendall's tau union is 1 for the same order; it does not say how many documents both runs have, which stands "
        "above it. Rank-biased overlap is 1 for the same rankings and weighs the top most.",
        "",
        markdown(effectiveness(found)),
        "",
        "W/T/L: queries on which B is better, equal, or worse. p: paired two-sided t-test, not corrected for several "
        "measures. RMSE is 0 if every query has the same value.",
    ]
    if len(found.runs) > 2:
        lines.append(
            "ER, the effect ratio, is 1 if B improves on its baseline as much as A on its own; DRI, delta relative "
            "improvement, is 0 if both improve by the same share."
        )
    shown = min(SHOWN, len(found.queries))
    lines += [
        "",
        f"## The {shown} largest differences of {len(found.queries)} queries",
        "",
        markdown(queries(found)),
        "",
        "## Where the figures come from",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"
