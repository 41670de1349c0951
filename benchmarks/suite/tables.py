"""The results as tables of text, for Markdown, HTML, CSV, and the terminal."""

from __future__ import annotations

import math
from typing import Any

from limrank_ir.formats.words import few, some
from limrank_ir.ranking.fusion import weights_text
from limrank_ir.ranking.statistics import ALPHA, Comparison, Interval, describe

from ..markdown import Table
from ..systems.system import FIRST_STAGE, Work
from .cost import percentiles
from .results import MEASURES, PRIMARY, SAME, SuiteReport, SystemResult, relative, significant, summaries

SIGNIFICANT = "†"
CEILING = "best possible order"
NOTHING = "\u2013"
_MINUS = "\u2212"


def notes(report: SuiteReport) -> list[str]:
    """What the tables mean, for below them."""
    margin = report.statistics.margin
    tests = [found for result in report.results for found in result.comparisons.values()]
    compared = [
        f"{SIGNIFICANT}, better, and worse, and the numbers in parentheses: significant at {ALPHA:g} over the queries "
        f"against the first stage, in {describe(tests)} over all systems (alone and fused) and collections, or over "
        "all systems for the means.",
        f"Same: the difference is smaller than {margin:g}, significant at {ALPHA:g} in two one-sided paired t-tests "
        "(TOST) with the same correction. Neither better, worse, nor same: these queries do not tell.",
        "d_z: the mean of the queries' differences divided by their standard deviation. Won, tied, lost: queries. "
        "Brackets: 95% confidence intervals, without correction. Over the collections, each collection has the same "
        "weight.",
    ]
    return [
        f"Gains are in {PRIMARY}, relative to the first stage: the mean of the collections' gains, and the gain of the "
        "mean. Above and below count collections; differences under 0.0005 count as neither.",
        *(compared if tests else []),
        "Fused: w z(reranker) + (1 - w) z(first stage), with z-scores over a query's candidates and one w for all "
        "collections.",
        *_fusions(report),
        "Better of the two: the better of alone and fused, chosen for each collection by its judgments. This is a "
        "bound, not a system.",
        f"The {CEILING}: these candidates sorted by their judgments. No reranker of these candidates can do better.",
        "Queries without any candidate count as 0.",
    ]


def _fusions(report: SuiteReport) -> list[str]:
    """The weights of the fusions."""
    if not report.fusions:
        return []
    named = "; ".join(f"{label}: {weights_text(weights)}" for label, weights in report.fusions.items())
    return [f"Fusions of several, in the same way, with these weights: {named}."]


def percent(gain: float | None) -> str:
    """A relative gain: ``+4.2%``."""
    if gain is None:
        return NOTHING
    text = f"{gain:+.1%}"
    return text.lstrip("+-") if text.strip("+-0.%") == "" else text.replace("-", _MINUS)


def signed(value: float, digits: int = 3) -> str:
    """A difference: ``+0.042``."""
    text = f"{value:+.{digits}f}"
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


COMPARED = ["difference", "95% CI", "d_z", "95% CI of d_z", "won", "tied", "lost", "p", "finding"]


def overall(report: SuiteReport, measure: str) -> Table:
    """The comparisons with the first stage over all collections, one row for each system alone and fused."""
    rows = [[label, *compared(found)] for label, found in report.overall[measure].items()]
    return ["", *COMPARED], rows


def comparisons(report: SuiteReport, measure: str) -> Table:
    """The comparisons with the first stage, one row for each collection and system alone and fused."""
    rows = [
        [result.collection, result.label, *compared(result.comparisons[measure])]
        for result in report.results
        if result.comparisons
    ]
    return ["", "system", *COMPARED], rows


def compared(found: Comparison) -> list[str]:
    """The columns `COMPARED` of a comparison."""
    return [
        signed(found.difference),
        _interval(found.interval, 3),
        NOTHING if found.effect is None else signed(found.effect, 2),
        _interval(found.effect_interval, 2),
        *(str(count) for count in (found.wins, found.ties, found.losses)),
        p_value(found.p),
        found.finding,
    ]


def _interval(interval: Interval | None, digits: int) -> str:
    return NOTHING if interval is None else f"[{signed(interval[0], digits)}, {signed(interval[1], digits)}]"


def p_value(p: float | None) -> str:
    """A p-value: ``0.0312``, ``<0.0001``."""
    if p is None:
        return NOTHING
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


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
    """What each system took, and how often its scores do not tell candidates apart. Unknown columns are left out."""
    header = ["", "fusion weight w", "pairs", "pairs/s", "tokens", "tokens/query p50, p95", "s/query p50, p95"]
    header += ["passages cut", "thoughts forced", "tied scores", "tied, fused", *_ASKED]
    ties = tie_rate(report, FIRST_STAGE)
    rows = [[FIRST_STAGE, *[NOTHING] * 8, ties, *[NOTHING] * (1 + len(_ASKED))]] if ties != NOTHING else []
    works = report.work()
    ask = any(done.calls is not None for done in works.values())
    for system, done in works.items():
        rate = NOTHING if done.pairs_per_second is None else f"{done.pairs_per_second:,.1f}"
        cut = f"{done.cut:,} ({done.cut_tokens:,} tokens)"
        facts = report.systems[system]
        latency = facts.get("latency")
        row = [system, f"{facts['fusion_weight']:g}", f"{done.pairs:,}", rate, f"{done.tokens:,}"]
        row += [_two(report.query_tokens(system), ",.0f"), _two(latency and latency["seconds"], ",.2f")]
        row += [cut, f"{done.forced:,}", tie_rate(report, system), tie_rate(report, f"{system}, fused")]
        rows.append([*row, *(_asked(done) if ask else [NOTHING] * len(_ASKED))])
    known = [number for number in range(len(header)) if any(row[number] != NOTHING for row in rows)]
    return [header[number] for number in known], [[row[number] for number in known] for row in rows]


_ASKED = ("calls", "seconds", "answers repaired", "failed")  # where a system has a ranker


def _asked(done: Work) -> list[str]:
    seconds = f"{done.seconds:,.0f}" if done.judged else NOTHING
    if done.calls is None:
        return [f"{done.pairs:,}", seconds, NOTHING, NOTHING]
    return [f"{done.calls:,}", seconds, f"{done.repaired:,}", f"{done.failed:,}"]


def _two(values: list[float] | list[int] | None, form: str) -> str:
    """The median and the 95th percentile."""
    return ", ".join(f"{value:{form}}" for value in percentiles(values)) if values else NOTHING


def tie_rate(report: SuiteReport, label: str) -> str:
    """The share of candidates whose score another candidate of the same query has, too: ``0.4%``."""
    tied = [result.tied for result in report.results if result.label == label]
    pairs = sum(facts["pairs"] for facts in report.collections.values())
    known = [count for count in tied if count is not None]
    return f"{sum(known) / pairs:.1%}" if known and len(known) == len(tied) and pairs else NOTHING


def work_notes(report: SuiteReport) -> list[str]:
    """What the figures of `work` mean."""
    header, _ = work(report)
    times = [facts["latency"]["queries"] for facts in report.systems.values() if facts.get("latency")]
    by_column = {
        "pairs": "Pairs are (query, passage) pairs, one call of the model each; tokens are those read and written. A "
        "verdict is forced where a thought does not reach one.",
        "tokens/query p50, p95": "p50 and p95: the median and the 95th percentile over the queries.",
        "s/query p50, p95": f"s/query: wall-clock seconds of {max(times, default=0):,} sampled queries, judged one at "
        "a time with all their candidates by the loaded model, without stored verdicts.",
        "tied scores": "Tied scores: candidates whose score, as trec_eval reads it (float32), another candidate of the "
        "query has, too; their order says nothing.",
        "calls": "Calls are questions to the model: one for each pair, unless a ranker (after the @) asks about "
        "several passages. Seconds are those of the call of this command that asked them.",
    }
    return [note for column, note in by_column.items() if column in header]


def calibrations(report: SuiteReport) -> dict[str, tuple[str, Table]]:
    """The reliability table of each system with calibration, and what it says."""
    return {
        system: (_calibrated(found), _reliability(found))
        for system, facts in report.systems.items()
        if (found := facts.get("calibration"))
    }


def _calibrated(found: dict[str, Any]) -> str:
    base = found["relevant"] * (1 - found["relevant"])
    cut = "equal numbers of pairs" if found["cut"] == "mass" else "equal width"
    return (
        f"Brier score {found['brier']:.3f} (always saying the share of relevant pairs, {found['relevant']:.1%}, has "
        f"{base:.3f}); expected calibration error {found['ece']:.3f} over bins of {cut}. {found['pairs']:,} judged "
        f"pairs of {found['collections']:,} collections whose judgments have both kinds; unjudged candidates are left "
        "out."
    )


def _reliability(found: dict[str, Any]) -> Table:
    rows = [
        [
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['pairs']:,}",
            f"{row['predicted']:.3f}",
            f"{row['relevant']:.3f}",
            signed(row["predicted"] - row["relevant"]),
        ]
        for row in found["bins"]
    ]
    return ["P(true)", "pairs", "mean P(true)", "share relevant", "difference"], rows


def all_figures(report: SuiteReport) -> Table:
    """All figures, unrounded, one row for each result."""
    compared = ["difference", "low", "high", "d_z", "d_z low", "d_z high", "won", "tied", "lost", "p", "p same"]
    header = ["collection", "system", "variant", "queries", "missing"]
    header += [name for measure in MEASURES for name in (measure, *(f"{each} {measure}" for each in compared))]
    header += ["tied scores", "pairs", "judged", "seconds", "pairs_per_second", "tokens", "cut", "cut_tokens", "forced"]
    rows = []
    for result in report.results:
        row: list[object] = [result.collection, result.system, result.variant, len(result.per_query), result.missing]
        for measure in MEASURES:
            row += [result.mean[measure]]
            if (found := result.comparisons.get(measure)) is None:
                row += [None] * len(compared)
            else:
                row += [found.difference, *(found.interval or (None, None))]
                row += [found.effect, *(found.effect_interval or (None, None))]
                row += [found.wins, found.ties, found.losses, found.p, found.p_equivalent]
        row += [result.tied]
        if (done := result.work) is None:
            row += [None] * 8
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
    of_all = report.overall[PRIMARY][best.label]
    sentences = [
        f"{lead}: {percent(best.gain_of_mean)} over {first.label} in the mean over {over}; above it on "
        f"{best.above} ({best.better} significant), below it on {best.below} ({best.worse} significant).",
        f"Over all queries: {sentence(of_all)}",
        few(asked),
    ]
    if 0 < len(bound) < count:
        where = f"{len(bound)} of {count} collections ({some(bound)})"
        sentences.append(f"On {where}, {first.label} already has the best possible order: no reranker can gain there.")
    return head, " ".join(filter(None, sentences))


def sentence(found: Comparison) -> str:
    """A comparison in words."""
    counts = f"better on {found.wins:,} queries, equal on {found.ties:,}, worse on {found.losses:,}"
    between = "" if found.interval is None else f" (95% CI {signed(found.interval[0])} to {signed(found.interval[1])})"
    if found.p is None:
        return f"{signed(found.difference)}{between}, {counts}; no test: {found.missing}."
    size = "" if found.effect is None else f", d_z {signed(found.effect, 2)}"
    p = f"p {p_value(found.p)}".replace("p <", "p < ")
    after = {"none": "without a correction", "holm": "after Holm's correction"}.get(
        found.correction, "after the Benjamini-Hochberg correction"
    )
    return f"{signed(found.difference)}{between}{size}, {counts}; {p} {after}: {found.finding or 'not significant'}."


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
