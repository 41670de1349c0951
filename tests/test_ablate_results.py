"""``limrank bench ablate``: spreads over seeds, differences, and when a point is called better."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from limrank_ir.benchmarks.ablate.config import read_config
from limrank_ir.benchmarks.ablate.report import interval, signed, text, write_report
from limrank_ir.benchmarks.ablate.results import Measured, ablation, spread
from tests.ablation import figures, write, write_place


@pytest.fixture
def place(tmp_path):
    return write_place(tmp_path)


def test_spreads_are_those_of_a_textbook():
    found = spread([0.5, 0.6, 0.7])
    assert (found.n, found.mean, found.sd) == (3, pytest.approx(0.6), pytest.approx(0.1))
    assert found.interval == (
        pytest.approx(0.6 - 4.3027 * 0.1 / math.sqrt(3), abs=1e-5),
        pytest.approx(0.8484, abs=1e-4),
    )
    assert spread([0.5]) == spread([0.5]).__class__(1, 0.5, None, None)


def summary(place: Path, measured: list[Measured]):
    names = list(dict.fromkeys(found.point for found in measured))
    points = {name: {"model": "limrank-smol"} for name in names}
    config = read_config(write(place, points=points, reference=names[0], seeds=[1, 2, 3]))
    return ablation(config, measured, [], {"command": "c"}, ["plain", "given"])


def test_a_difference_within_the_spread_of_the_seeds_is_not_called_one(place):
    noise = {1: 0.05, 2: -0.04, 3: 0.03}
    measured = [figures("all", seed) for seed in (1, 2, 3)]
    measured += [figures("other", seed, 0.01 + noise[seed]) for seed in (1, 2, 3)]
    found = summary(place, measured)
    difference = found.differences["alone"]["other"]
    gaps = [other.mean("alone") - base.mean("alone") for base, other in zip(measured, measured[3:], strict=False)]
    assert difference.seeds.difference == pytest.approx(statistics.fmean(gaps))
    assert difference.finding == "not shown"
    assert (difference.above, difference.below, difference.cells) == (4, 2, 6)
    assert text(found).startswith("# No point is shown to differ from all")


@pytest.mark.parametrize(("effect", "finding"), [(0.2, "better"), (-0.2, "worse")])
def test_a_difference_beyond_the_spread_on_all_collections_is_called_one(place, effect, finding):
    measured = [figures("all", seed) for seed in (1, 2, 3)]
    measured += [figures("other", seed, effect + 0.001 * seed) for seed in (1, 2, 3)]
    found = summary(place, measured)
    assert found.differences["alone"]["other"].finding == finding
    assert f"other is {finding}" in text(found)


def test_one_seed_shows_nothing_however_large_the_difference(place):
    found = summary(place, [figures("all", 1), figures("other", 1, 0.3)])
    assert found.differences["alone"]["other"].finding == "not shown"
    assert found.differences["alone"]["other"].seeds.p is None


def test_an_untrained_point_is_compared_with_each_seed(place):
    found = summary(place, [*(figures("all", seed) for seed in (1, 2, 3)), figures("base", None, -0.3)])
    difference = found.differences["alone"]["base"]
    assert (difference.seeds.queries, difference.cells, difference.finding) == (3, 6, "worse")


def test_a_seed_that_failed_leaves_the_pairs_of_the_others(place):
    measured = [figures("all", 1), figures("all", 2), figures("other", 2, 0.1), figures("other", 3, 0.1)]
    assert summary(place, measured).differences["alone"]["other"].seeds.queries == 1


def test_the_report_of_results_without_a_failed_reference_is_written(place, tmp_path):
    """The reference failed with all seeds: there are spreads, but no differences."""
    config = read_config(write(place, points={"all": {}, "other": {}}))
    found = ablation(config, [figures("other", 1)], ["all, seed 1: no memory"], {}, ["plain", "given"])
    write_report(found, tmp_path / "out")
    assert "| other |" in (tmp_path / "out/results.md").read_text()


def test_numbers_are_written_as_in_the_other_tables():
    assert [signed(value) for value in (0.0421, -0.0421, -0.0001)] == ["+0.042", "\u22120.042", "0.000"]
    assert interval((0.5, 0.61234)) == "0.500 to 0.612"
    assert interval(None) == "\u2013"
