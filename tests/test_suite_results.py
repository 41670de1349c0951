"""``limrank bench suite``: gains, counts, p-values, and the headline, from made-up figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from limrank_ir.benchmarks.suite import results as figures
from limrank_ir.benchmarks.suite import tables
from limrank_ir.benchmarks.suite.report import read_report, write_report
from limrank_ir.benchmarks.suite.results import SuiteReport, SystemResult
from limrank_ir.errors import InputError
from limrank_ir.formats.words import few

PAGES = (Path(__file__).parents[1] / "benchmarks" / "results").rglob("results.html")  # what the suite wrote
COMMITTED = sorted(page.with_name("results.json") for page in PAGES)


def result(collection: str, variant: str, values: list[float]) -> SystemResult:
    per_query = {f"q{n}": dict.fromkeys(figures.MEASURES, value) for n, value in enumerate(values)}
    mean = dict.fromkeys(figures.MEASURES, sum(values) / len(values))
    return SystemResult(collection, "bm25" if variant == "first stage" else "x", variant, mean, per_query, 0)


def test_gains_counts_and_the_better_of_the_two():
    rows = {
        "a": {"first stage": [0.2, 0.2], "alone": [0.4, 0.4], "fused": [0.3, 0.3]},
        "b": {"first stage": [0.8, 0.8], "alone": [0.4, 0.4], "fused": [0.8, 0.8]},
        "c": {"first stage": [0.0, 0.0], "alone": [0.1, 0.1], "fused": [0.0, 0.0]},
    }
    results = [result(name, variant, values) for name, row in rows.items() for variant, values in row.items()]
    first, alone, fused, better = figures.summaries(results, "nDCG@10")
    assert [s.label for s in (first, alone, fused, better)] == ["bm25", "x", "x, fused", "x, better of the two"]
    assert alone.mean_gain == pytest.approx((1.0 - 0.5) / 2)  # where the first stage has 0 there is no relative gain
    assert alone.gain_of_mean == pytest.approx(0.9 / 1.0 - 1)
    assert (alone.above, alone.below, fused.above, fused.below) == (2, 1, 1, 0)
    assert better.mean == pytest.approx((0.4 + 0.8 + 0.1) / 3) and better.combined


def found(rows: dict[str, dict[str, list[float]]], ceiling: float) -> tuple[str, str]:
    """The headline and the sentences of these figures."""
    results = [result(name, variant, values) for name, row in rows.items() for variant, values in row.items()]
    facts = {
        name: {"queries": len(row["first stage"]), "ceiling": dict.fromkeys(figures.MEASURES, ceiling)}
        for name, row in rows.items()
    }
    return tables.finding(SuiteReport(results, facts, {}, {}, {}))


def figure(first: float, other: float, queries: int) -> dict[str, list[float]]:
    return {"first stage": [first] * queries, "alone": [other] * queries, "fused": [first] * queries}


def test_the_report_warns_of_few_queries():
    head, sentences = found({"a": figure(0.5, 0.75, 2)}, 0.9)
    assert head == "nDCG@10 rises from 0.500 to 0.750 on 2 queries"
    assert "+50.0% over bm25 in the mean over 1 collection with 2 queries; above it on 1" in sentences
    assert sentences.endswith(few(2)) and few(2)
    one, more = (found({"a": figure(0.5, 0.4, n)}, 0.9) for n in (1, 40))
    assert one[0] == "No reranker is above bm25: nDCG@10 0.500 on 1 query" and one[1].endswith(few(1))
    assert more[0].endswith("on 40 queries") and few(1) not in more[1]


def test_the_report_says_that_nothing_can_be_gained_on_a_first_stage_at_the_bound():
    head, sentences = found({"a": figure(0.6, 0.4, 30)}, 0.6)
    assert head == "bm25 already has the best possible order: nDCG@10 0.600 on 30 queries"
    assert sentences.startswith("No reranker of its candidates can gain; the best one, x, fused, has 0.600:")
    head, sentences = found({"a": figure(0.9, 0.4, 30), "b": figure(0.5, 0.8, 30)}, 0.9)
    assert head == "No reranker is above bm25: nDCG@10 0.700 on 60 queries"
    assert sentences.endswith(
        "On 1 of 2 collections ('a'), bm25 already has the best possible order: no reranker can gain there."
    )
    assert "best possible" not in " ".join(found({"a": figure(0.6, 0.7, 30)}, 0.9))


def test_p_values_are_corrected_over_systems_and_collections():
    from scipy.stats import ttest_rel
    from statsmodels.stats.multitest import multipletests

    base, alone, fused = [0.1, 0.5, 0.2, 0.9], [0.3, 0.6, 0.4, 0.95], [0.1, 0.7, 0.5, 0.8]
    rows = {"first stage": base, "alone": alone, "fused": fused}
    results = [result(name, variant, values) for name in "ab" for variant, values in rows.items()]
    found = [r.p["RR@10"] for r in figures.with_p_values(results) if r.variant != "first stage"]
    raw = [ttest_rel(base, values).pvalue for values in (alone, fused)] * 2
    assert found == pytest.approx(list(multipletests(raw, method="holm")[1]))


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: "/".join(file.parent.parts[-2:]))
def test_committed_pages_are_what_the_suite_writes_today(file, tmp_path):
    """If this fails: ``limrank bench render`` with the folder."""
    write_report(read_report(file.parent), tmp_path)
    for name in ("results.json", "results.csv", "results.md", "results.html"):
        assert (tmp_path / name).read_bytes() == (file.parent / name).read_bytes(), name


def test_there_are_committed_results():
    assert len(COMMITTED) >= 6


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "not the results of the suite"), ("[]", "not the results of the suite")],
)
def test_other_folders_are_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_report(tmp_path)
