"""``limrank bench suite``: gains, counts, p-values, and the headline, from made-up figures."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from limrank_ir.benchmarks.suite import results as figures
from limrank_ir.benchmarks.suite import tables
from limrank_ir.benchmarks.suite.calibrated import calibrated
from limrank_ir.benchmarks.suite.cost import sample, tied_scores
from limrank_ir.benchmarks.suite.report import markdown, read_report, write_report
from limrank_ir.benchmarks.suite.results import SuiteReport, SystemResult
from limrank_ir.benchmarks.systems.system import Work
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import RunEntry
from limrank_ir.formats.words import few
from limrank_ir.ranking.calibration import calibration

PAGES = (Path(__file__).parents[1] / "benchmarks" / "results").rglob("results.html")  # what the suite wrote
NUMBER = re.compile(r"(?<![\w.-])(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.-])")
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


BASE, ALONE, FUSED = [0.1, 0.5, 0.2, 0.9], [0.3, 0.6, 0.4, 0.95], [0.1, 0.7, 0.5, 0.8]


def results(*collections: str, **rows: list[float]) -> list[SystemResult]:
    variants = {"first stage": BASE, "alone": ALONE, "fused": FUSED, **rows}
    return [result(name, variant, values) for name in collections for variant, values in variants.items()]


def report(measured: list[SystemResult], systems: dict, **settings) -> SuiteReport:
    statistics = figures.Statistics(**settings)
    names = dict.fromkeys(each.collection for each in measured)
    facts = {"queries": 4, "documents": 9, "judged_queries": 4, "first_stage": "a run", "pairs": 8,
             "ceiling": dict.fromkeys(figures.MEASURES, 1.0)}  # fmt: skip
    asked = {"k": 2, "queries": None, "seed": 0, "models": {}, "statistics": asdict(statistics)}
    return SuiteReport(
        figures.with_comparisons(measured, statistics), dict.fromkeys(names, facts), systems, asked, {}, statistics
    )


SYSTEM = {"name": "x", "identity": "i", "fusion_weight": 0.5, "adapter_hash": None}


@pytest.mark.parametrize(("correction", "method"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_p_values_are_corrected_over_systems_and_collections(correction, method):
    from scipy.stats import ttest_rel
    from statsmodels.stats.multitest import multipletests

    compared = figures.with_comparisons(results("a", "b"), figures.Statistics("t", correction))
    raw = [ttest_rel(BASE, values).pvalue for values in (ALONE, FUSED)] * 2
    assert [r.p["RR@10"] for r in compared if r.variant != "first stage"] == pytest.approx(
        list(multipletests(raw, method=method)[1])
    )
    assert all(not r.comparisons for r in compared if r.variant == "first stage")


def test_over_all_collections_each_collection_has_the_same_weight():
    small, large = ([0.0, 0.0], [0.4, 0.2]), ([0.5] * 6, [0.4, 0.5, 0.5, 0.6, 0.2, 0.5])
    rows = {"a": small, "b": large}
    measured = [
        result(name, variant, values)
        for name, (first, own) in rows.items()
        for variant, values in {"first stage": first, "alone": own, "fused": first}.items()
    ]
    found = figures.compare_overall(measured, "nDCG@10", figures.Statistics("t", "none"))
    means = [sum(own) / len(own) - sum(first) / len(first) for first, own in rows.values()]
    assert found["x"].difference == pytest.approx(sum(means) / 2)
    assert (found["x"].wins, found["x"].ties, found["x"].losses) == (3, 3, 2)
    assert (found["x, fused"].p, found["x, fused"].ties) == (1.0, 8)


def test_the_pages_show_every_comparison_and_say_how_it_was_tested():
    found = report(results("a", "b"), {"x": SYSTEM}, test="wilcoxon", correction="bh", margin=0.05)
    text = markdown(found)
    assert "in paired Wilcoxon signed-rank tests, Benjamini-Hochberg correction over all systems" in text
    assert "Same: the difference is smaller than 0.05" in text
    comparison = found.on("a")["x"].comparisons["RR@10"]
    low, high = comparison.interval
    row = next(line for line in text.splitlines() if line.startswith("| a | x | "))
    assert row.startswith(f"| a | x | +0.137 | [+{low:.3f}, +{high:.3f}] | ") and "| 4 | 0 | 0 |" in row
    assert text.count("\n| a | x, fused | ") == len(figures.MEASURES)
    assert "on each collection" not in markdown(report(results("a"), {"x": SYSTEM}))  # it would say the same again
    assert f"p {found.overall['nDCG@10']['x'].p:.4f} after the Benjamini-Hochberg correction: better." in text


def test_without_a_correction_the_page_says_so():
    text = markdown(report(results("a"), {"x": SYSTEM}, test="t", correction="none"))
    assert "in paired t-tests, no correction over all systems" in text and "without a correction" in text


def test_the_same_as_the_first_stage_is_said_only_where_it_was_tested():
    base = [0.5] * 40
    near, noisy = [0.5 + 0.001 * (-1) ** n for n in range(40)], [0.5 + 0.4 * (-1) ** n for n in range(40)]
    found = report(results("a", **{"first stage": base}, alone=near, fused=noisy), {"x": SYSTEM})
    findings = [row[-1] for row in tables.comparisons(found, "nDCG@10")[1]]
    assert findings == ["same within 0.01", ""]
    assert found.on("a")["x, fused"].p["nDCG@10"] == 1.0  # no difference was found, but it is not known to be the same


def test_cost_ties_and_calibration_are_shown_where_they_are_known():
    work = Work(pairs=8, judged=8, seconds=2.0, tokens=100, cut=1, cut_tokens=3, forced=2)
    measured = [
        replace(each, tied={"first stage": 4, "alone": 1, "fused": 0}[each.variant], query_tokens=[10, 20, 30, 40],
                work=None if each.variant == "first stage" else work)
        for each in results("a")
    ]  # fmt: skip
    calibrated = {**asdict(calibration([2.0, -1.0, 0.5], [True, False, False])), "cut": "width", "collections": 1}
    latency = {"queries": 2, "pairs": 4, "seconds": [0.5, 1.5]}
    found = report(measured, {"x": {**SYSTEM, "latency": latency, "calibration": calibrated}})
    header, (first, row) = tables.work(found)
    shown = dict(zip(header, row, strict=True))
    assert shown["tokens/query p50, p95"] == "25, 38" and shown["s/query p50, p95"] == "1.00, 1.45"
    assert (shown["tied scores"], shown["tied, fused"], shown["thoughts forced"]) == ("12.5%", "0.0%", "2")
    assert first[header.index("tied scores")] == "50.0%"
    text = markdown(found)
    assert f"Brier score {calibrated['brier']:.3f}" in text and "| 0.881 to 0.881 | 1 | 0.881 | 1.000 |" in text
    assert "of 2 sampled queries" in text
    unknown, _ = tables.work(report([replace(each, tied=None, query_tokens=None) for each in measured], {"x": SYSTEM}))
    assert not {"tied scores", "tied, fused", "tokens/query p50, p95", "s/query p50, p95"} & {*unknown}


def test_results_survive_the_file(tmp_path):
    pytest.importorskip("matplotlib")
    work = Work(pairs=8, judged=8, seconds=2.0, tokens=100, cut=1, cut_tokens=3)
    measured = [replace(each, work=None if each.variant == "first stage" else work, tied=1) for each in results("a")]
    before = report(measured, {"x": SYSTEM}, test="bootstrap", correction="bh", margin=0.02)
    write_report(before, tmp_path)
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["results"][1]["comparisons"]["RR@10"]["test"] == "bootstrap"
    after = read_report(tmp_path)
    assert after.results == before.results and after.overall == before.overall


def test_results_of_older_versions_are_compared_again(tmp_path):
    pytest.importorskip("matplotlib")
    write_report(report(results("a"), {"x": SYSTEM}, test="t"), tmp_path)
    saved = json.loads((tmp_path / "results.json").read_text())
    del saved["settings"]["statistics"]
    for record in saved["results"]:
        for name in ("tied", "query_tokens", "comparisons"):
            del record[name]
    (tmp_path / "results.json").write_text(json.dumps(saved))
    found = read_report(tmp_path).on("a")["x"].comparisons["RR@10"]
    assert (found.test, found.correction, found.margin) == ("randomization", "holm", 0.01)


def test_ties_are_counted_as_trec_eval_compares_scores():
    assert tied_scores([[1.0, 1.0 + 1e-12, 0.5], [0.1], []]) == 2


def test_a_larger_sample_contains_the_smaller_one():
    queries = [("a", f"q{n}") for n in range(9)]
    assert sample(queries, 4, 1) == sample([*reversed(queries)], 6, 1)[:4] and len(sample(queries, 99, 1)) == 9


def test_collections_that_judge_only_relevant_documents_do_not_count_for_calibration():
    def run(**scores: float) -> dict[str, list[RunEntry]]:
        return {"q": [RunEntry("q", docno, 1, score, "x") for docno, score in scores.items()]}

    only = run(d1=1.0, d2=2.0), {"q": {"d1": 1, "d9": 0}}
    both = run(d1=3.0, d2=-1.0, d3=0.0, d4=0.0), {"q": {"d1": 2, "d2": 0, "d3": -1}}
    found = calibrated([only, both], "width")
    assert (found["collections"], found["pairs"], found["relevant"], found["cut"]) == (1, 2, 0.5, "width")
    assert calibrated([only], "width") is None


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: "/".join(file.parent.parts[-2:]))
def test_committed_pages_are_what_the_suite_writes_today(file, tmp_path):
    """If this fails: ``limrank bench render`` with the folder."""
    write_report(read_report(file.parent), tmp_path)
    for name in ("results.md", "results.html"):
        assert (tmp_path / name).read_bytes() == (file.parent / name).read_bytes(), name
    for name in ("results.json", "results.csv"):  # unrounded: the last digits depend on the version of scipy
        mine, committed = (
            re.split(NUMBER, (folder / name).read_text(encoding="utf-8")) for folder in (tmp_path, file.parent)
        )
        assert mine[::2] == committed[::2], name
        assert [*map(float, mine[1::2])] == pytest.approx([*map(float, committed[1::2])], rel=1e-5, abs=1e-9), name


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
