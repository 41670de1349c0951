"""The report as one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.workshop.page import render

from .audit import QUESTIONS, Audit
from .report import Share, SynthReport

LEAKY = 0.75  # the page warns from this area under the curve


class Bar(NamedTuple):
    """A bar of a chart, with a mark at its target. `width` and `mark` are in percent."""

    name: str
    said: str
    width: str
    mark: str


def report_page(report: SynthReport, name: str, settings: Sequence[tuple[str, str]]) -> str:
    """Write the page.

    Args:
        report: the figures.
        name: of the synthesis.
        settings: names and values of what it was made with.
    """
    written = sum(count for _, count, _ in report.passages)
    return render(
        Path(__file__).with_name("report.html"),
        name=name,
        headline=f"{report.pairs:,} judged pairs for {report.queries:,} queries",
        lede=f"{written:,} passages were written and {report.pairs:,} kept; {report.relevant:,} of these are relevant "
        f"({_percent(report.relevant, report.pairs)}).",
        daily=_bars(report.domains["daily"]),
        expert=_bars(report.domains["expert"]),
        difficulties=_bars(report.difficulties),
        passages=[(kind, f"{count:,}", f"{kept:,}", _percent(kept, count)) for kind, count, kept in report.passages],
        losses=[(step, reason, f"{count:,}") for step, reason, count in report.losses] or [("none", "", "0")],
        lengths=[
            (each.name, f"{each.count:,}", f"{each.short:,}", f"{each.median:,}", f"{each.long:,}")
            for each in report.lengths
        ],
        leak=_leak(report.leak),
        audit=None if report.audit is None else _audit(report.audit),
        costs=[
            (
                *(each.model, f"{each.answers:,}", f"{each.prompt_tokens:,}", f"{each.response_tokens:,}"),
                "unknown" if each.dollars is None else f"{each.dollars:,.2f}",
            )
            for each in report.costs
        ],
        steps=[(step, f"{count:,}") for step, count in report.counts.items()],
        settings=settings,
    )


def _bars(shares: Sequence[Share]) -> list[Bar]:
    most = max([each.share for each in shares] + [each.wanted for each in shares] + [1e-9])
    return [
        Bar(
            each.name,
            f"{each.count:,} ({each.share:.0%}, target {each.wanted:.0%})",
            f"{100 * each.share / most:.1f}",
            f"{100 * each.wanted / most:.1f}",
        )
        for each in shares
    ]


def _leak(auc: float | None) -> str:
    if auc is None:
        return "There are too few pairs to measure whether a passage alone gives its label away."
    found = (
        "A classifier that sees the words of a passage but not the query tells relevant passages from others with an "
        f"area under the ROC curve of {auc:.2f}: 0.5 is chance, 1 a complete leak."
    )
    if auc < LEAKY:
        return found
    return f"{found} Passages give their label away: look at what the relevant ones have in common."


def _audit(audit: Audit) -> dict[str, Any]:
    rows = []
    for question, (yes, count, low, high) in audit.agreement().items():
        interval = f"{low:.0%} to {high:.0%}" if count else ""
        rows.append((QUESTIONS[question], f"{yes:,} of {count:,}", _percent(yes, count), interval))
    return {"auditor": audit.auditor, "blind": audit.blind, "rows": rows}


def _percent(part: int, total: int) -> str:
    return f"{part / total:.0%}" if total else ""
