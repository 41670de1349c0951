"""The page that ``limrank demo`` leaves behind: one self-contained HTML file, both rankings of every query in it."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from limrank_ir.formats.words import few

TEXT_LIMIT = 700
"""Characters of a passage that the page shows."""

LINE_LIMIT = 160
"""Characters of a passage's first line that its closed row shows."""

SAME = 0.0005
"""Differences smaller than this print as 0.000, and so count as unchanged."""

BAR_LIMIT = 16.0
"""Log-odds at which a bar is full at the latest; one far-out score must not flatten all others."""

_CHART_HEIGHT = 200
_CHART_EDGE = 16
_MINUS = "\u2212"
_STATES = ("improved", "unchanged", "worsened")
_TONES = {"improved": "up", "unchanged": "same", "worsened": "down"}
_MARK = '<span class="grade"><svg width="10" height="10" aria-hidden="true"><use href="#g{0}"/></svg>grade {0}</span>'
_JOINT = re.compile(r"(?<=[a-z0-9][._/])(?=[A-Za-z])")  # where a long name may break; never inside an entity
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


@dataclass(frozen=True)
class Row:
    """One passage in one ranking.

    Attributes:
        docno: name of the passage.
        text: the passage; the page shows its first 700 characters.
        score: the first stage's score, or the reranker's log-odds (natural log).
        grade: 0 (not judged relevant), 1 or 2.
    """

    docno: str
    text: str
    score: float
    grade: int


@dataclass(frozen=True)
class QueryReport:
    """One query and its two rankings.

    Attributes:
        qid: name of the query.
        query: its words.
        before: the top of the first stage's ranking, best first.
        after: the top of the reranker's, best first; it may be shorter, even empty.
        measures: name of a measure to its value (before, after).
    """

    qid: str
    query: str
    before: list[Row]
    after: list[Row]
    measures: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Report:
    """What the page tells.

    Attributes:
        title: title of the page.
        first_stage: name of the first stage, such as ``BM25``.
        reranker: name of the whole pipeline, such as ``BM25 >> limrank-smol``.
        collection: the collection in one line.
        measures: name of a measure to its mean (before, after). The page's headline and the queries' differences
            are in nDCG@10, or the first measure where that is missing.
        seconds: wall-clock time of all queries (before, after).
        pairs: (query, passage) pairs that the reranker read.
        queries: the queries, in the order of the run. One without the headline's measure counts as unchanged.
        environment: versions, hardware, command: what the numbers came from.
    """

    title: str
    first_stage: str
    reranker: str
    collection: str
    measures: dict[str, tuple[float, float]]
    seconds: tuple[float, float]
    pairs: int
    queries: list[QueryReport]
    environment: dict[str, str]


def render(report: Report) -> str:
    """Write the report as one HTML page that fetches nothing.

    Args:
        report: what to tell. Its text may hold anything: all of it is escaped.

    Returns:
        The page.
    """
    primary = "nDCG@10" if "nDCG@10" in report.measures else next(iter(report.measures), "nDCG@10")
    deltas = [_delta(query.measures.get(primary, (0.0, 0.0))) for query in report.queries]
    counts = {state: sum(_state(delta) == state for delta in deltas) for state in _STATES}
    limit = _limit(report)
    queries = [_query(report, n, delta, limit) for n, delta in enumerate(deltas)]
    return _template().substitute(
        title=_text(report.title),
        first_stage=_text(report.first_stage),
        reranker=_text(report.reranker),
        collection=_text(report.collection),
        primary=_text(primary),
        finding=_finding(report, primary),
        lede=_lede(report, counts),
        measures="\n".join(_measures(report)),
        tally=_tally(counts) if deltas and report.measures else "",
        chart=_chart(report, deltas),
        limit=f"{limit:.0f}",
        filters="\n".join(_filters(counts)),
        queries="\n".join(queries) or '<p class="none">This run has no queries.</p>',
        environment="\n".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in report.environment.items()),
    )


@cache
def _template() -> Template:
    return Template(files("limrank_ir.demo").joinpath("report.html").read_text(encoding="utf-8"))


def _text(value: str) -> str:
    """Escape for elements and quoted attributes; what HTML cannot hold, or turns text around, becomes U+FFFD."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", value))


def _cut(text: str, limit: int) -> str:
    """Shorten to ``limit`` characters, between words where they are not too long, with an ellipsis."""
    if len(text) <= limit:
        return text
    kept = re.sub(r"(?<=\s)\S{1,40}\Z", "", text[: limit + 1])[:limit]
    return kept.rstrip() + " …"


def _signed(value: float, digits: int = 3) -> str:
    """Write with its sign, a true minus sign included; what rounds to zero has none."""
    if math.isnan(value):
        return "nan"
    shown = f"{value:+.{digits}f}" if abs(value) < 1e4 else f"{value:+.2g}"
    if shown.strip("+-0.") == "":
        return shown.lstrip("+-")
    return shown.replace("-", _MINUS)


def _duration(seconds: float) -> str:
    if seconds < 119.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _count(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"


def _delta(values: tuple[float, float]) -> float:
    difference = values[1] - values[0]
    return difference if math.isfinite(difference) else 0.0


def _state(delta: float) -> str:
    if abs(delta) < SAME:
        return "unchanged"
    return "improved" if delta > 0 else "worsened"


def _probability(log_odds: float) -> str:
    """P(true), said without a claim to certainty."""
    value = (1.0 + math.tanh(log_odds / 2)) / 2
    if value > 0.9995:
        return "P(true) above 0.999"
    return "P(true) below 0.001" if value < 0.0005 else f"P(true) {value:.3f}"


def _limit(report: Report) -> float:
    """Log-odds at which a bar is full, one scale for the whole page."""
    sizes = (abs(row.score) for query in report.queries for row in query.after)
    largest = max((size for size in sizes if math.isfinite(size)), default=BAR_LIMIT)
    return float(min(max(math.ceil(largest), 1), BAR_LIMIT))


def _finding(report: Report, primary: str) -> str:
    if primary not in report.measures:
        return "Nothing was measured"
    before, after = report.measures[primary]
    state = _state(_delta((before, after)))
    if state == "unchanged":
        return f"{_text(primary)} stays at {after:.3f}"
    verb = "rises" if state == "improved" else "falls"
    return f'{_text(primary)} {verb} from {before:.3f} <span class="nowrap">to {after:.3f}</span>'


def _lede(report: Report, counts: dict[str, int]) -> str:
    if not report.queries:
        return f"There were no queries for {_text(report.first_stage)} and {_text(report.reranker)} to answer."
    before, after = report.seconds
    said = (
        f"It takes {_duration(after)} where {_text(report.first_stage)} takes {_duration(before)}, for "
        f"{_count(report.pairs, 'pair', 'pairs')} of query and passage"
    )
    if report.pairs > 0:
        each = after / report.pairs
        said += f": {each * 1000:.3g} ms a pair" if each < 0.9995 else f": {each:.2f} s a pair"
    if not report.measures:
        return f"{said}."
    return (
        f"Over {_count(len(report.queries), 'query', 'queries')}, {_text(report.reranker)} does better than "
        f"{_text(report.first_stage)} on {counts['improved']:,}, the same on {counts['unchanged']:,} and worse on "
        f"{counts['worsened']:,}. {said}. {few(len(report.queries))}"
    ).rstrip()


def _measures(report: Report) -> list[str]:
    """Rows of the table of means, and of the time they took."""
    lines = []
    for name, (before, after) in report.measures.items():
        delta = _delta((before, after))
        lines.append(_line(_text(name), f"{before:.3f}", f"{after:.3f}", _signed(delta), _TONES[_state(delta)]))
    before, after = report.seconds
    sign = _MINUS if after < before else "+"
    lines.append(_line("Time", _duration(before), _duration(after), sign + _duration(abs(after - before)), "same"))
    return lines


def _line(name: str, before: str, after: str, difference: str, tone: str) -> str:
    cells = f'<td>{before}</td><td>{after}</td><td class="{tone}">{difference}</td>'
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _tally(counts: dict[str, int]) -> str:
    shares = [f'<span class="{_TONES[s]}" style="--n:{n}"></span>' for s, n in counts.items() if n]
    words = [f'<li><i class="{_TONES[s]}"></i><b>{n:,}</b> {s}</li>' for s, n in counts.items()]
    return f'<div class="shares" aria-hidden="true">{"".join(shares)}</div>\n<ul class="tally">{"".join(words)}</ul>'


def _filters(counts: dict[str, int]) -> list[str]:
    choices = {"all": sum(counts.values()), **counts}
    return [
        f'<button type="button" value="{state}" aria-pressed="{str(state == "all").lower()}">'
        f"{state.capitalize()} <b>{number:,}</b></button>"
        for state, number in choices.items()
    ]


def _chart(report: Report, deltas: list[float]) -> str:
    """One bar per query, the largest gain first; each is a link to its query."""
    if not deltas:
        return '<p class="none">There is nothing to draw.</p>'
    high, low = _reach(deltas), _reach([-delta for delta in deltas])
    unit = (_CHART_HEIGHT - 2 * _CHART_EDGE) / (high + low)
    middle = _CHART_EDGE + high * unit
    slot = 100 / max(len(deltas), 12)
    bars = []
    for place, n in enumerate(sorted(range(len(deltas)), key=lambda n: (-deltas[n], n))):
        delta, query = deltas[n], report.queries[n]
        size = max(abs(delta) * unit, 1.5)
        top = middle - (size if delta > 0 else 0)
        label = _text(f"{_signed(delta)}  {query.query}")
        bars.append(
            f'<a href="#q{n + 1}" aria-label="{label}"><title>{label}</title>'
            f'<rect class="hit" x="{place * slot:.3f}%" width="{slot:.3f}%" height="{_CHART_HEIGHT}"/>'
            f'<rect class="{_TONES[_state(delta)]}" x="{(place + 0.12) * slot:.3f}%" y="{top:.1f}" '
            f'width="{slot * 0.76:.3f}%" height="{size:.1f}"/></a>'
        )
    scale = "".join(
        f'<line x1="0" x2="100%" y1="{y:.0f}" y2="{y:.0f}"{kind}/>'
        for y, kind in ((_CHART_EDGE, ""), (middle, ' class="zero"'), (_CHART_HEIGHT - _CHART_EDGE, ""))
    )
    marks = (
        f'<text x="100%" y="11" text-anchor="end">{_signed(high, 2)}</text>'
        f'<text x="0" y="{_CHART_HEIGHT - 4}">{_signed(-low, 2)}</text>'
    )
    return (
        f'<figure class="chart"><svg height="{_CHART_HEIGHT}" role="group" aria-labelledby="differences">'
        f"{scale}{marks}{''.join(bars)}</svg>\n"
        '<figcaption class="caption" id="caption">Each bar is a query, from the largest gain to the largest loss. '
        "Choose one to read its rankings.</figcaption></figure>"
    )


def _reach(deltas: list[float]) -> float:
    """How far the chart's scale goes to hold these on one side: quarters, never nothing."""
    return max(math.ceil(max(deltas) * 4) / 4, 0.25)


def _query(report: Report, n: int, delta: float, limit: float) -> str:
    query = report.queries[n]
    state = _state(delta)
    old, new = _ranks(query.before), _ranks(query.after)
    before = [_row(rank, row, _went(rank, new.get(row.docno))) for rank, row in enumerate(query.before, 1)]
    after = [_row(rank, row, _came(rank, old.get(row.docno)), limit) for rank, row in enumerate(query.after, 1)]
    values = [f"<span>{_text(k)} {b:.3f} → {a:.3f}</span>" for k, (b, a) in query.measures.items()]
    return (
        f'<article class="query" id="q{n + 1}" data-state="{state}" data-delta="{delta:.6f}">'
        f"<details{' open' if n == 0 else ''}><summary>"
        f'<span class="delta {_TONES[state]}">{_signed(delta)} <small>{state}</small></span>'
        f"<h3>{_text(query.query)}</h3>"
        f'<span class="facts"><code>{_text(query.qid)}</code>{"".join(values)}</span>'
        f'<span class="strips">{_strip("before", query.before)}{_strip("after", query.after)}</span>'
        '</summary><div class="sides">\n'
        f"{_side(report.first_stage, 'score', before)}\n{_side(report.reranker, 'log-odds', after)}\n"
        "</div></details></article>"
    )


def _ranks(rows: list[Row]) -> dict[str, int]:
    return {row.docno: rank for rank, row in reversed(list(enumerate(rows, 1)))}


def _strip(name: str, rows: list[Row]) -> str:
    """Where a ranking has its judged passages, at a glance."""
    found = [(rank, _grade(row)) for rank, row in enumerate(rows, 1) if row.grade > 0]
    said = ", ".join(f"grade {grade} at rank {rank}" for rank, grade in found) or "nothing relevant"
    marks = "".join(f'<use href="#g{grade}" x="{rank * 12 - 12}"/>' for rank, grade in found)
    dots = f'<path class="dots" d="M5 5h{len(rows) * 12 - 11}"/>' if rows else ""
    return (
        f'<span class="strip">{name} <svg class="mark" width="{max(len(rows), 10) * 12}" height="10" role="img" '
        f'aria-label="{said}">{dots}{marks}</svg></span>'
    )


def _side(name: str, unit: str, rows: list[str]) -> str:
    listed = f"<ol>\n{chr(10).join(rows)}\n</ol>" if rows else '<p class="none">No passages.</p>'
    return f"<section><header><h4>{_text(name)}</h4><span>{unit}</span></header>{listed}</section>"


def _grade(row: Row) -> int:
    return min(max(row.grade, 0), 2)


def _came(rank: int, was: int | None) -> tuple[str, str]:
    """Where a reranked passage comes from: (what to show, what to say)."""
    if was is None:
        return "new", "not in the top of the first ranking"
    if was == rank:
        return "=", "same rank as before"
    return (f"▲{was - rank}", f"up from rank {was}") if was > rank else (f"▼{rank - was}", f"down from rank {was}")


def _went(rank: int, now: int | None) -> tuple[str, str]:
    """Where a passage of the first stage goes: (what to show, what to say)."""
    if now is None:
        return "out", "not in the top after reranking"
    return ("=", "same rank after") if now == rank else (f"→{now}", f"goes to rank {now}")


def _row(rank: int, row: Row, moved: tuple[str, str], limit: float | None = None) -> str:
    """One passage; with a ``limit`` its score is log-odds and gets a bar."""
    grade = _grade(row)
    text = row.text.strip()
    kind, mark = (f"passage g{grade}", _MARK.format(grade)) if grade else ("passage", "")
    name = _JOINT.sub("<wbr>", _text(row.docno))
    emphasis = " in" if moved[0][0] in "▲▼n" else ""
    if limit is None:
        score, note = f'<span class="s">{_signed(row.score, 2).lstrip("+")}</span>', ""
    else:
        said = _probability(row.score)
        score = f'<span class="s" title="{said}">{_signed(row.score, 2)}{_bar(row.score, limit)}</span>'
        note = f"<p>{said}</p>"
    return (
        f'<li class="{kind}" data-d="{_text(row.docno)}"><details><summary><span class="k">{rank}</span>'
        f'<span class="b"><span class="d">{name}</span>{mark}'
        f'<span class="f">{_text(_cut(text.partition(chr(10))[0], LINE_LIMIT))}</span></span>'
        f'<span class="c{emphasis}" role="img" title="{moved[1]}">{moved[0]}</span>{score}'
        f'</summary><div class="text">{note}<pre>{_text(_cut(text, TEXT_LIMIT))}</pre></div></details></li>'
    )


def _bar(log_odds: float, limit: float) -> str:
    size = 0.0 if math.isnan(log_odds) else min(abs(log_odds) / limit, 1.0)
    side = ' class="n"' if log_odds < 0 else ""
    return f'<span class="bar"><i{side} style="--v:{size:.3f}"></i></span>'
