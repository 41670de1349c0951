"""``limrank bench ablate``: configurations, sources, and what is checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from limrank_ir.benchmarks.ablate.config import inference, read_config, sources
from limrank_ir.benchmarks.ablate.report import plan_table
from limrank_ir.benchmarks.ablate.run import check_all, plan_jobs
from limrank_ir.benchmarks.ablate.training import base_settings, training
from limrank_ir.benchmarks.cli import app
from limrank_ir.errors import InputError
from tests.ablation import CONFIGS, SOURCES, Stub, write, write_place
from tests.training import groups, write_rows


@pytest.fixture
def place(tmp_path):
    return write_place(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "al"}, "reference: no point is called 'al'"),
        ({"seeds": [1, 1]}, "a seed is given twice"),
        ({"seedz": [1]}, "seedz: unknown setting; did you mean seeds?"),
        ({"set": {"seed": 3}}, "seed is set by bench ablate"),
        ({"points": {"all": {"set": {"data.sources": []}}}}, r"points\.all\.set: data\.sources is set by"),
        ({"points": {"all": {"model": "limrank-smol", "queries": 3}}}, "a point with a model is not trained"),
        ({"points": {"all": {"bench": {"queries": 3}}}}, r"points\.all\.bench\.queries: unknown setting"),
        ({"bench": {"collections": []}}, r"bench\.collections"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(place, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        read_config(write(place, **changes))
    assert "\n" not in str(caught.value)


def test_queries_are_shared_out_in_proportion_and_every_source_keeps_one(place):
    config = read_config(write(place, queries=5, points={"all": {}, "one": {"queries": 2}}))
    shares = {name: [source["queries"] for source in sources(config, name, SOURCES)] for name in config.points}
    assert shares == {"all": [4, 1], "one": [1, 1]}


def test_leaving_out_a_source_keeps_the_number_of_queries(place):
    config = read_config(write(place, queries=6, each={"negatives": 1}))
    assert sources(config, "without b", SOURCES) == [{"path": "a/train.jsonl", "queries": 6, "negatives": 1}]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (
            {"without": ["c/*"]},
            r"all\.without: c/\* matches no source; there are: a/train.jsonl, b/train.jsonl",
        ),
        ({"without": ["*"]}, "no source is left"),
        ({"queries": 9}, "2 sources have 8 queries in all, not 9"),
        ({"sources": [{"path": "a/train.jsonl"}], "queries": 1}, r"add them, or set data\.share"),
        (
            {"sources": [{"path": "c.jsonl"}]},
            r"points\.all: .*c\.jsonl: cannot be read \(No such file or directory\); give another --data",
        ),
    ],
)
def test_wrong_sources_are_one_line_before_anything_runs(place, point, message):
    with pytest.raises(InputError, match=message):
        plan_jobs(read_config(write(place, points={"all": point})))


def test_points_with_the_same_training_share_it_and_everything_that_changes_it_changes_its_key(place):
    jobs = plan_jobs(read_config(write(place)))
    keys = {job.label: job.plan.key for job in jobs if job.plan}
    assert keys["all, seed 1"] == keys["k 2, seed 1"]
    assert len({keys[f"{name}, seed {seed}"] for name in ("all", "less", "without b") for seed in (1, 2)}) == 6
    write_rows(place / "rows/b/train.jsonl", groups(7))
    changed = {job.label: job.plan.key for job in plan_jobs(read_config(write(place))) if job.plan}
    assert changed["all, seed 1"] != keys["all, seed 1"]
    assert changed["without b, seed 1"] == keys["without b, seed 1"]


def test_the_command_of_a_training_says_what_differs(place):
    config = read_config(write(place, set={"training.max_steps": 7}))
    arguments = training(config, base_settings(config), "less", 2).arguments(place / "run")
    assert arguments[:2] == ["train", str(place / "train.yaml")]
    assert arguments[2:6] == ["--data", str(place / "rows"), "--output", str(place / "run")]
    given = dict(change.split("=", 1) for change in arguments[7::2])
    assert yaml.safe_load(given["data.sources"]) == sources(config, "less", SOURCES)
    assert (given["training.max_steps"], given["seed"]) == ("7", "2")


def test_a_point_says_how_its_model_runs_and_the_rest_comes_from_the_ablation(place):
    bench = {"collections": ["plain"], "k": 7, "think": "always", "budget": 64}
    config = read_config(write(place, bench=bench, points={"all": {"bench": {"think": "never"}}}))
    assert inference(config, config.points["all"], "rank1") == (
        7,
        {"think": "never", "budget": 64, "prompt_format": "rank1"},
    )


def test_a_dry_run_lists_points_with_their_steps(place):
    config = read_config(write(place))
    header, rows = plan_table(config, check_all(config, Stub().check)[0])
    assert header == ["point", "differs by", "trainings", "steps of each", "steps", "k"]
    assert rows[1] == ["less", '{"queries": 4}', "2", "5", "10", "3"]
    assert rows[-1][2:5] == ["8", "", "40"]


def test_missing_collections_are_an_error_before_any_training_is_checked(place):
    path = write(place, bench={"folder": "collections", "collections": ["plane"]})
    with pytest.raises(InputError, match="plane: no such folder"):
        check_all(read_config(path), lambda plan, folder: pytest.fail("too late"))


def test_an_unknown_model_is_an_error_before_any_training_is_checked(place):
    path = write(place, points={"all": {}, "other": {"model": "limrank-smoll"}})
    with pytest.raises(InputError, match="unknown model"):
        check_all(read_config(path), lambda plan, folder: pytest.fail("too late"))


def test_the_command_needs_a_folder_or_dry_run(place):
    found = CliRunner().invoke(app, ["ablate", str(write(place))])
    assert isinstance(found.exception, InputError)
    assert "-o FOLDER" in str(found.exception)


def test_the_configurations_of_the_package_are_valid():
    smol, paper = (read_config(CONFIGS / f"{name}.yaml") for name in ("smol", "paper"))
    assert len(smol.seeds) == len(paper.seeds) == 3
    assert len(smol.bench.collections) == 6
    for config in (smol, paper):
        base = base_settings(config)
        for name, point in config.points.items():
            assert point.model or sources(config, name, base["data"]["sources"])
    excluded = base_settings(smol)["data"]["exclude_topics"]
    assert all(any(topics.startswith(f"{folder.name}/") for topics in excluded) for folder in smol.bench.collections)


def test_the_configuration_in_the_guide_is_valid(tmp_path):
    guide = (Path(__file__).parents[1] / "docs" / "ablation.md").read_text()
    (tmp_path / "ablate.yaml").write_text(guide.split("```yaml\n")[1].split("```")[0])
    config = read_config(tmp_path / "ablate.yaml")
    own = [{"path": "web/rows.jsonl", "queries": 300}, {"path": "forum/rows.jsonl", "queries": 900}]
    assert [source["queries"] for source in sources(config, "half", own)] == [50, 150]
    with pytest.raises(InputError, match="1 sources have 300 queries in all, not 400"):
        sources(config, "without forum posts", own)
