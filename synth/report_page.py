"""The report as one HTML page that fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limrank_ir.workshop.page import fill, fold, plain, text

from .audit import QUESTIONS
from .report import Share, SynthReport

LEAKY = 0.75  # from this area under the curve the page warns


def report_page(report: SynthReport, name: str, facts: Sequence[tuple[str, str]]) -> str:
    """Write the page.

    Args:
        report: the figures.
        name: of the synthesis.
        facts: what it was made with: names and values.
    """
    made = sum(count for _, count, _ in report.passages)
    return fill(
        Path(__file__).with_name("report.html"),
        name=text(name),
        finding=text(f"{report.pairs:,} judged pairs of {report.queries:,} queries"),
        lede=text(
            f"{made:,} passages were written, {report.pairs:,} stayed; {report.relevant:,} of them are relevant "
            f"({_percent(report.relevant, report.pairs)})."
        ),
        daily=_bars(report.domains["daily"]),
        expert=_bars(report.domains["expert"]),
        difficulties=_bars(report.difficulties),
        passages=plain(
            ("kind of passage", "written", "stayed", "share"),
            [(kind, f"{count:,}", f"{left:,}", _percent(left, count)) for kind, count, left in report.passages],
        ),
        losses=plain(
            ("step", "reason", "dropped"),
            [(step, reason, f"{count:,}") for step, reason, count in report.losses] or [("none", "", "0")],
            left=(0, 1),
        ),
        lengths=plain(
            ("words of", "texts", "5%", "median", "95%"),
            [
                (each.name, f"{each.count:,}", f"{each.short:,}", f"{each.median:,}", f"{each.long:,}")
                for each in report.lengths
            ],
        ),
        leak=text(_leak(report.leak)),
        audit=_audit(report),
        costs=plain(
            ("model", "answers", "prompt tokens", "response tokens", "dollars"),
            [
                (
                    *(each.model, f"{each.answers:,}", f"{each.prompt_tokens:,}", f"{each.response_tokens:,}"),
                    "unknown" if each.dollars is None else f"{each.dollars:,.2f}",
                )
                for each in report.costs
            ],
        ),
        steps=fold(
            "What each step left", plain(("step", "records"), [(k, f"{v:,}") for k, v in report.counts.items()])
        ),
        facts="\n".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in facts),
    )


def _bars(shares: Sequence[Share]) -> str:
    """Bars of what there is, with a mark at what was wanted."""
    most = max([each.share for each in shares] + [each.wanted for each in shares] + [1e-9])
    rows = []
    for each in shares:
        said = f"{each.count:,} ({each.share:.0%}, wanted {each.wanted:.0%})"
        rows.append(
            f'<div class="name">{text(each.name)}</div><div class="track">'
            f'<span class="bar" style="width:{100 * each.share / most:.1f}%"></span>'
            f'<span class="mark" style="left:{100 * each.wanted / most:.1f}%"></span></div>'
            f'<div class="said">{text(said)}</div>'
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def _leak(auc: float | None) -> str:
    if auc is None:
        return "Too few pairs to measure whether a passage alone gives its label away."
    verdict = "Passages give their label away: look at what they have in common." if auc >= LEAKY else ""
    return (
        "A classifier that sees the words of a passage alone, and never the query, tells relevant passages from "
        f"others with an area under the ROC curve of {auc:.2f}: 0.5 is chance, 1 a complete leak. {verdict}"
    ).strip()


def _audit(report: SynthReport) -> str:
    if report.audit is None:
        return "<p>Nobody has audited it yet: <code>limrank synth audit</code>.</p>"
    rows = []
    for question, (yes, count, low, high) in report.audit.agreement().items():
        interval = f"{low:.0%} to {high:.0%}" if count else ""
        rows.append((QUESTIONS[question], f"{yes:,} of {count:,}", _percent(yes, count), interval))
    who = f"By {text(report.audit.auditor)}. " if report.audit.auditor else ""
    how = "judged before the label was shown" if report.audit.blind else "marked with the label in sight"
    return f"<p>{who}Passages were {how}.</p>" + plain(("question", "yes", "share", "95% interval (Wilson)"), rows)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""
