"""The results as tables of text, for Markdown, HTML, CSV, and the terminal."""

from __future__ import annotations

import math

from limrank_ir.formats.words import few, some

from ..markdown import Table
from ..systems.system import FIRST_STAGE
from .results import ALPHA, MEASURES, SAME, SuiteReport, SystemResult, relative, significant, summaries

PRIMARY = MEASURES[0]
SIGNIFICANT = "†"
CEILING = "best possible order"
NOTHING = "\u2013"
_MINUS = "\u2212"

NOTES = (
    f"Gains are in {PRIMARY}, relative to the first stage: the mean of the collections' gains, and the gain of the "
    "mean. Above and below count collections; differences under 0.0005 count as neither.",
    f"{SIGNIFICANT} and the numbers in parentheses: significant at {ALPHA:g} in a paired t-test over the queries "
    "against the first stage, with Holm's correction over all systems (alone and fused) and collections.",
    "Fused: w z(reranker) + (1 - w) z(first stage), with z-scores over a query's candidates and one w for all "
    "collections.",
    "Better of the two: the better of alone and fused, chosen for each collection by its judgments. This is a bound, "
    "not a system.",
    f"The {CEILING}: these candidates sorted by their judgments. No reranker of these candidates can do better.",
    "Queries without any candidate count as 0.",
)


def percent(gain: float | None) -> str:
    """A relative gain: ``+4.2%``."""
    if gain is None:
        return NOTHING
    text = f"{gain:+.1%}"
    return text.lstrip("+-") if text.strip("+-0.%") == "" else text.replace("-", _MINUS)


def signed(value: float) -> str:
    """A difference: ``+0.042``."""
    text = f"{value:+.3f}"
    return text.lstrip("+-") if text.strip("+-0.") == "" else text.replace("-", _MINUS)


def averages(report: SuiteReport) -> Table:
    """Means over the collections, one row for each system alone and fused."""
    header = ["", *MEASURES, "mean gain", "gain of mean", "above", "below"]
    by_measure = [summaries(report.results, measure) for measure in MEASURES]
    rows = []
    for same_label in zip(*by_measure, strict=True):
        summary = same_label[MEASURES.index(PRIMARY)]
        means = [f"{other.mean:.3f}" for other in same_label]
        if summary.label == FIRST_STAGE:
            rows.append([summary.label, *means, "", "", "", ""])
            continue
        gains = [percent(summary.mean_gain), percent(summary.gain_of_mean)]
        counts = [f"{summary.above} ({summary.better})", f"{summary.below} ({summary.worse})"]
        rows.append([summary.label, *means, *gains, *counts])
    return header, [*rows, _ceiling(report)]


def _ceiling(report: SuiteReport) -> list[str]:
    """The row of `averages` for the same candidates in the best possible order."""
    count = len(report.collections)
    means = [math.fsum(facts["ceiling"][name] for facts in report.collections.values()) / count for name in MEASURES]
    first = {name: report.first_stage(name).mean[PRIMARY] for name in report.collections}
    gains = [relative(facts["ceiling"][PRIMARY], first[name]) for name, facts in report.collections.items()]
    known = [gain for gain in gains if gain is not None]
    mean_gain = math.fsum(known) / len(known) if known else None
    gain_of_mean = relative(means[0], math.fsum(first.values()) / count)
    return [CEILING, *(f"{mean:.3f}" for mean in means), percent(mean_gain), percent(gain_of_mean), "", ""]


def by_collection(report: SuiteReport, measure: str) -> Table:
    """A measure on each collection, one column for each system alone and fused. Significant differences are marked."""
    rows = []
    for name in report.collections:
        found = report.on(name)
        ceiling = f"{report.collections[name]['ceiling'][measure]:.3f}"
        rows.append([name, *(f"{r.mean[measure]:.3f}{mark(r, measure)}" for r in found.values()), ceiling])
    return ["", *report.labels, CEILING], rows


def mark(result: SystemResult, measure: str) -> str:
    """The mark after a significant figure, or nothing."""
    return SIGNIFICANT if significant(result, measure) else ""


def collections(report: SuiteReport) -> Table:
    """The collections."""
    rows = [
        [
            name,
            f"{facts['documents']:,}",
            f"{facts['queries']:,} of {facts['judged_queries']:,}",
            facts["first_stage"],
            f"{facts['pairs']:,}",
            f"{report.first_stage(name).missing:,}",
        ]
        for name, facts in report.collections.items()
    ]
    return ["", "documents", "queries", "candidates", "pairs", "queries without candidates"], rows


def work(report: SuiteReport) -> Table:
    """What each system took."""
    rows = []
    for system, done in report.work().items():
        rate = NOTHING if done.pairs_per_second is None else f"{done.pairs_per_second:,.1f}"
        cut = f"{done.cut:,} ({done.cut_tokens:,} tokens)"
        weight = f"{report.systems[system]['fusion_weight']:g}"
        rows.append([system, weight, f"{done.pairs:,}", rate, f"{done.tokens:,}", cut, f"{done.forced:,}"])
    return ["", "fusion weight w", "pairs", "pairs/s", "tokens", "passages cut", "thoughts forced"], rows


def all_figures(report: SuiteReport) -> Table:
    """All figures, unrounded, one row for each result."""
    header = ["collection", "system", "variant", "queries", "missing"]
    header += [name for measure in MEASURES for name in (measure, f"difference {measure}", f"p {measure}")]
    header += ["pairs", "judged", "seconds", "pairs_per_second", "tokens", "cut", "cut_tokens", "forced"]
    rows = []
    for result in report.results:
        first = report.first_stage(result.collection)
        row: list[object] = [result.collection, result.system, result.variant, len(result.per_query), result.missing]
        for measure in MEASURES:
            difference = "" if result.variant == "first stage" else result.mean[measure] - first.mean[measure]
            row += [result.mean[measure], difference, result.p.get(measure)]
        if (done := result.work) is None:
            row += [""] * 8
        else:
            row += [done.pairs, done.judged, done.seconds, done.pairs_per_second, done.tokens]
            row += [done.cut, done.cut_tokens, done.forced]
        rows.append(["" if cell is None else str(cell) for cell in row])
    return header, rows


def finding(report: SuiteReport) -> tuple[str, str]:
    """Sum up the results in one line, and in a few sentences.

    Args:
        report: the results.

    Returns:
        (headline, sentences) about the system with the highest mean.
    """
    first, *others = [summary for summary in summaries(report.results, PRIMARY) if not summary.combined]
    count, bound = len(report.collections), _at_bound(report)
    asked = sum(facts["queries"] for facts in report.collections.values())
    queries = f"{asked:,} {'query' if asked == 1 else 'queries'}"
    over = f"{count:,} {'collection' if count == 1 else 'collections'} with {queries}"
    if not others:
        return f"{PRIMARY} of {first.label}: {first.mean:.3f}", f"The mean over {over}. {few(asked)}".rstrip()
    best = max(others, key=lambda summary: summary.mean)
    if len(bound) == count:
        head = f"{first.label} already has the best possible order: {PRIMARY} {first.mean:.3f} on {queries}"
        lead = f"No reranker of its candidates can gain; the best one, {best.label}, has {best.mean:.3f}"
    elif best.mean <= first.mean:
        head = f"No reranker is above {first.label}: {PRIMARY} {first.mean:.3f} on {queries}"
        lead = f"The best one, {best.label}, has {best.mean:.3f}"
    else:
        head = f"{PRIMARY} rises from {first.mean:.3f} to {best.mean:.3f} on {queries}"
        lead = f"The best system is {best.label}"
    sentences = [
        f"{lead}: {percent(best.gain_of_mean)} over {first.label} in the mean over {over}; above it on "
        f"{best.above} ({best.better} significant), below it on {best.below} ({best.worse} significant).",
        few(asked),
    ]
    if 0 < len(bound) < count:
        where = f"{len(bound)} of {count} collections ({some(bound)})"
        sentences.append(f"On {where}, {first.label} already has the best possible order: no reranker can gain there.")
    return head, " ".join(filter(None, sentences))


def _at_bound(report: SuiteReport) -> list[str]:
    """Collections whose first stage already has its candidates in the best possible order."""
    return [
        name
        for name, facts in report.collections.items()
        if facts["ceiling"][PRIMARY] - report.first_stage(name).mean[PRIMARY] < SAME
    ]


def protocol(report: SuiteReport) -> str:
    """How the systems were measured, in a sentence."""
    settings = report.settings
    if settings["queries"] is None:
        queries = "all judged queries"
    else:
        queries = f"samples of {settings['queries']} judged queries (seed {settings['seed']})"
    cut = settings["models"].get("max_length")
    limit = "" if cut is None else f"; passages are cut if a prompt exceeds {cut} tokens"
    return f"The first stage's top {settings['k']} documents; {queries}{limit}."


def facts(report: SuiteReport) -> dict[str, str]:
    """Where the figures come from: name to value."""
    adapters = {
        f"adapter of {label}": found["adapter_hash"] for label, found in report.systems.items() if found["adapter_hash"]
    }
    return {**report.environment, **adapters}
