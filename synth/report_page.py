"""The report as one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.workshop.page import render

from .audit import QUESTIONS, Audit
from .filters.leaks import Leak
from .report import Share, SynthReport

LEAKY = 0.6  # the page warns above this area under the curve


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
    written = sum(each.written for each in report.passages)
    retrievers = list(report.above)
    return render(
        Path(__file__).with_name("report.html"),
        name=name,
        headline=f"{report.pairs:,} judged pairs for {report.queries:,} queries",
        lede=f"{written:,} passages were written and {report.pairs:,} kept; {report.relevant:,} of these are relevant "
        f"({_percent(report.relevant, report.pairs)}).",
        daily=_bars(report.domains["daily"]),
        expert=_bars(report.domains["expert"]),
        difficulties=_bars(report.difficulties),
        forms=_bars(report.forms),
        passages=[
            (
                *(each.name, f"{each.written:,}", f"{each.kept:,}", _percent(each.kept, each.written)),
                *(f"{each.above[name]:.0%}" if name in each.above else "" for name in retrievers),
            )
            for each in report.passages
        ],
        passage_head=("kind of passage", "written", "kept", "share", *(f"above: {name}" for name in retrievers)),
        hardness=_hardness(report),
        losses=[(step, reason, f"{count:,}") for step, reason, count in report.losses] or [("none", "", "0")],
        lengths=[
            (each.name, f"{each.count:,}", f"{each.short:,}", f"{each.median:,}", f"{each.long:,}")
            for each in report.lengths
        ],
        leaks=[
            _leak("planned contents", report.content_leak),
            _leak("passages", report.leak),
        ],
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


def _hardness(report: SynthReport) -> str:
    if not report.above:
        return "Whether negatives are hard was not measured (filters.hard is off)."
    shares = " and ".join(f"{name} ranks {share:.0%}" for name, share in report.above.items())
    return f"{shares} of the negatives above their query's positive, among all passages of the set."


def _leak(what: str, leak: Leak | None) -> tuple[str, str, str]:
    """What, its area under the curve with the 95% interval, and what to think of it."""
    if leak is None:
        return what, "", "too few to tell"
    half = 1.959964 * leak.error
    said = "no leak beyond chance" if not leak.above(0.5) else "a small leak"
    if leak.auc > LEAKY:
        said = "labels leak: look at what the relevant ones have in common"
    return what, f"{leak.auc:.2f} ({leak.auc - half:.2f} to {min(1, leak.auc + half):.2f})", said


def _audit(audit: Audit) -> dict[str, Any]:
    rows = []
    for question, (yes, count, low, high) in audit.agreement().items():
        interval = f"{low:.0%} to {high:.0%}" if count else ""
        rows.append((QUESTIONS[question], f"{yes:,} of {count:,}", _percent(yes, count), interval))
    return {"auditor": audit.auditor, "blind": audit.blind, "rows": rows}


def _percent(part: int, total: int) -> str:
    return f"{part / total:.0%}" if total else ""
