"""``limrank bench between``: two results of the suite, compared by the queries that both have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limrank_ir.benchmarks.cli import app
from limrank_ir.benchmarks.suite.between import between
from limrank_ir.benchmarks.suite.report import read_report
from limrank_ir.benchmarks.suite.results import MEASURES, Statistics, SuiteReport, SystemResult, with_comparisons
from limrank_ir.errors import InputError

THIRD = Path(__file__).parents[1] / "benchmarks" / "results" / "development-third"


def report(**collections: dict[str, dict[str, float]]) -> SuiteReport:
    """Results from collection to label to qid to value."""
    results = []
    for name, systems in collections.items():
        for label, values in systems.items():
            variant = {"bm25": "first stage"}.get(label, "fusion" if " + " in label else "alone")
            per_query = {qid: dict.fromkeys(MEASURES, value) for qid, value in values.items()}
            mean = dict.fromkeys(MEASURES, sum(values.values()) / len(values))
            results.append(SystemResult(name, label, variant, mean, per_query, 0))
    return SuiteReport(with_comparisons(results, Statistics()), {name: {} for name in collections}, {}, {}, {})


OLD = report(
    a={"bm25": {"1": 0.1, "2": 0.2, "3": 0.3}, "x": {"1": 0.5, "2": 0.4, "3": 0.9}},
    b={"bm25": {"1": 0.0}, "x": {"1": 0.2}},
    c={"bm25": {"1": 0.0}, "x": {"1": 1.0}},
)
NEW = report(
    a={"bm25": {"1": 0.1, "2": 0.2, "9": 0.0}, "x": {"1": 0.6, "2": 0.4, "9": 0.0}},
    b={"bm25": {"1": 0.0}, "x": {"1": 0.6}},
)


def test_only_shared_queries_count_and_each_collection_has_the_same_weight():
    found = between(OLD, NEW)
    (x,) = found.differences
    assert x.means == pytest.approx(((0.45 + 0.2) / 2, (0.5 + 0.6) / 2))
    assert x.comparison.difference == pytest.approx(x.means[1] - x.means[0])
    assert (x.comparison.wins, x.comparison.ties, x.comparison.losses) == (2, 1, 0)
    assert found.collections == {"a": 2, "b": 1}
    assert found.left_out == [
        "collections of the old results only: 'c'",
        "queries of the old results only: 1",
        "queries of the new results only: 1",
    ]


def test_new_names_also_count_within_fusions_and_only_renamed_systems_are_compared():
    labels = ("bm25", "dense", "0.3 bm25 + 0.7 {}", "{}+adapter", "{}")
    values = {"1": 0.5, "2": 0.25}
    old = report(a={label.format("mine"): values for label in labels})
    new = report(a={label.format("yours"): values for label in labels})
    found = between(old, new, renamed={"mine": "yours"})
    assert [(each.old, each.new) for each in found.differences] == [
        ("0.3 bm25 + 0.7 mine", "0.3 bm25 + 0.7 yours"),
        ("mine", "yours"),
    ]
    assert "systems of the old results only" not in str(found.left_out)
    assert [each.new for each in between(old, new).differences] == ["dense"]


@pytest.mark.parametrize(
    ("new", "renamed", "message"),
    [
        (report(d={"bm25": {"1": 0.0}, "x": {"1": 0.0}}), {}, "share no collection: 'a', 'b', 'c' and 'd'"),
        (report(a={"bm25": {"7": 0.0}, "x": {"7": 0.0}}), {}, "a: the results share no query; use the same --queries"),
        (NEW, {"x": "y"}, "share no system: 'y' and 'bm25', 'x'; use --rename OLD=NEW"),
        (NEW, {"y": "x"}, "no system of the old results is named 'y'; they have 'bm25', 'x'"),
    ],
)
def test_what_cannot_be_compared_is_refused(new, renamed, message):
    with pytest.raises(InputError, match=message):
        between(OLD, new, renamed=renamed)


def test_the_correction_is_over_the_systems():
    found = read_report(THIRD)
    name = "limrank-smol-untrained+{}".format
    plain = between(found, found, renamed={name("second"): name("third")}, statistics=Statistics("t", "none"))
    holm = between(found, found, renamed={name("second"): name("third")}, statistics=Statistics("t", "holm"))
    p = [each.comparison.p for each in plain.differences]
    assert len(p) == 3 and holm.differences[p.index(min(p))].comparison.p == pytest.approx(3 * min(p))


def test_the_command_prints_a_table_or_json_and_says_what_is_not_compared(tmp_path):
    rename = "limrank-smol-untrained+second=limrank-smol-untrained+third"
    run = CliRunner().invoke(app, ["between", str(THIRD), str(THIRD), "--rename", rename, "--test", "t"])
    assert run.exit_code == 0, run.output
    assert "0.789\t0.798\t+0.009\t[\u22120.001, +0.019]" in run.stdout
    found = json.loads(CliRunner().invoke(app, ["between", str(THIRD), str(THIRD), "--json"]).stdout)
    assert found["systems"][0]["difference"] == 0 and sum(found["collections"].values()) == 252
    wrong = CliRunner().invoke(app, ["between", str(THIRD), str(tmp_path)])
    assert wrong.exit_code and "name a folder that the suite wrote" in str(wrong.exception)
    half = CliRunner().invoke(app, ["between", str(THIRD), str(THIRD), "--rename", "third"])
    assert "--rename third: write OLD=NEW" in str(half.exception)


def test_results_with_themselves_are_the_same():
    same = between(OLD, replace(OLD))
    assert [each.comparison.losses + each.comparison.wins for each in same.differences] == [0]
