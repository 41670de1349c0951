"""``limrank bench ablate``: configurations, resuming, failures, the table, and one whole run with a tiny model."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from limrank_ir.benchmarks.ablate import config as ablate_config
from limrank_ir.benchmarks.ablate import plot
from limrank_ir.benchmarks.ablate import training as ablate_training
from limrank_ir.benchmarks.ablate.config import inference, read_config, sources
from limrank_ir.benchmarks.ablate.report import interval, plan_table, signed, text, write_report
from limrank_ir.benchmarks.ablate.results import VARIANTS, Measured, ablation, spread
from limrank_ir.benchmarks.ablate.run import Job, check_all, plan_jobs, run_ablation
from limrank_ir.benchmarks.ablate.training import Training, base_settings, run_training, training
from limrank_ir.benchmarks.cli import app
from limrank_ir.benchmarks.suite import report
from limrank_ir.benchmarks.systems.limrank import split_name
from limrank_ir.errors import EngineError, InputError
from tests import tiny
from tests.suite_collections import write_collections
from tests.training import groups, write_config, write_rows

CONFIGS = Path(ablate_config.__file__).parent / "configs"
SOURCES = [{"path": "a/train.jsonl", "queries": 6}, {"path": "b/train.jsonl", "queries": 2}]


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "train": "train.yaml",
        "data": "rows",
        "bench": {"folder": "collections", "collections": ["plain", "given"], "k": 3},
        "seeds": [1, 2],
        "reference": "all",
        "points": {
            "all": {},
            "less": {"queries": 4},
            "without b": {"without": ["b/*"]},
            "k 2": {"bench": {"k": 2}},
            "untrained": {"model": "limrank-smol-untrained"},
        },
        **changes,
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with rows, a training configuration, and collections."""
    write_collections(tmp_path / "collections")
    for source in SOURCES:
        write_rows(tmp_path / "rows" / source["path"], groups(8))
    write_config(tmp_path / "train.yaml", "limrank-smol-untrained", prompt_format=None, data={"sources": SOURCES})
    return tmp_path


def write(place: Path, **changes: Any) -> Path:
    path = place / "ablate.yaml"
    path.write_text(json.dumps(settings(**changes)))
    return path


class Stub:
    """Stands for training and measuring: counts calls, and gives each point's seeds figures of its own."""

    def __init__(self, effects: dict[str, float] | None = None, fails: str = "") -> None:
        self.effects, self.fails = effects or {}, fails
        self.trained: list[str] = []
        self.measured: list[str] = []

    def check(self, plan: Training, folder: Path) -> int:
        assert not folder.exists()
        return 5

    def train(self, plan: Training, steps: int, folder: Path, advance: Any) -> None:
        if self.fails and self.fails in plan.changes[0] and plan.seed == 2:
            raise EngineError(f"{folder}.log: the training failed (no memory); see this log")
        self.trained.append(plan.key)
        (folder / "adapter").mkdir(parents=True)
        (folder / "checkpoint-5").mkdir()
        (folder / "run.json").write_text(json.dumps({"steps": steps, "seconds": 1.5, "examples": 8}))
        advance(steps)

    def measure(self, config: Any, job: Job, system: str, folder: Path, facts: Any) -> Measured:
        self.measured.append(job.label)
        assert job.plan is None or Path(system.partition("+")[2]).is_dir()
        return figures(job.point, job.seed, self.effects.get(job.point, 0.0), dict(facts))


def figures(point: str, seed: int | None, effect: float = 0.0, facts: dict[str, Any] | None = None) -> Measured:
    noise = 0.01 * ((seed or 0) % 3)
    values = {"plain": 0.5 + effect + noise, "given": 0.7 + effect * 1.1 - noise / 2}
    return Measured(
        point=point,
        seed=seed,
        k=3,
        figures={variant: dict(values) for variant in VARIANTS},
        per_query={variant: {name: {"q1": value} for name, value in values.items()} for variant in VARIANTS},
        first_stage={"plain": 0.4, "given": 0.6},
        pairs=9,
        training=facts or {},
        adapter=None,
    )


@pytest.fixture
def no_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as everything else."""
    for place in (plot, report):
        monkeypatch.setattr(place, "png", lambda found: b"")


def run(path: Path, stub: Stub) -> list[str]:
    output = path.parent / "out"
    return run_ablation(read_config(path), output, check=stub.check, train=stub.train, measure=stub.measure)


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


def test_every_point_is_measured_with_every_seed_and_an_untrained_one_once(place):
    stub = Stub()
    assert run(write(place), stub) == []
    assert len(stub.trained) == 6  # all, less, without b; "k 2" shares the adapters of "all"
    assert len(stub.measured) == 4 * 2 + 1
    assert stub.measured[:5] == ["all, seed 1", "less, seed 1", "without b, seed 1", "k 2, seed 1", "untrained"]
    found = json.loads((place / "out/results.json").read_text())
    assert [found["spreads"]["alone"][name]["n"] for name in found["points"]] == [2, 2, 2, 2, 1]
    assert {path.name for path in (place / "out").iterdir()} >= {"results.md", "results.json", "card.json", "plot.png"}
    assert str(place) not in (place / "out/card.json").read_text()
    assert not list((place / "out").rglob("checkpoint-*"))


@pytest.mark.usefixtures("no_plot")
def test_a_second_call_trains_only_what_is_missing(place):
    first, second = Stub(), Stub()
    run(write(place, points={"all": {}}), first)
    run(write(place), second)
    assert len(first.trained) == 2
    assert len(second.trained) == 4
    assert not set(first.trained) & set(second.trained)


@pytest.mark.usefixtures("no_plot")
def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(place):
    stub = Stub()
    measure = stub.measure

    def interrupted(config, job, *rest):
        if job.label == "without b, seed 1":
            raise KeyboardInterrupt
        return measure(config, job, *rest)

    stub.measure = interrupted
    with pytest.raises(KeyboardInterrupt, match=r"2 of 9 trained .* run the same command again to resume"):
        run(write(place), stub)
    again = Stub()
    run(write(place), again)
    assert len(stub.trained) + len(again.trained) == 6


@pytest.mark.usefixtures("no_plot")
def test_a_failed_training_is_reported_and_the_others_go_on(place):
    stub = Stub(fails='"queries": 3')  # "less"
    assert run(write(place), stub) == [
        f"less, seed 2: {place}/out/work/training/{key_of(place, 'less', 2)}.log: the training failed (no memory); "
        "see this log"
    ]
    assert "**Incomplete:** less, seed 2" in (place / "out/results.md").read_text()
    assert len(stub.trained) == 5
    again = Stub()
    assert run(write(place), again) == []
    assert len(again.trained) == 1


def key_of(place: Path, point: str, seed: int) -> str:
    config = read_config(place / "ablate.yaml")
    return training(config, base_settings(config), point, seed).key


def test_without_any_figures_the_ablation_fails(place):
    stub = Stub(fails="a/train.jsonl")
    with pytest.raises(EngineError, match="no point could be measured; all, seed 2"):
        run(write(place, seeds=[2], points={"all": {}}), stub)


@pytest.mark.usefixtures("no_plot")
def test_other_queries_need_another_folder(place):
    run(write(place, points={"all": {}}), Stub())
    other = {"folder": "collections", "collections": ["plain", "given"], "k": 3, "queries": 2}
    with pytest.raises(InputError, match=r"out: its results were made without bench\.queries, not with"):
        run(write(place, points={"all": {}}, bench=other), Stub())


def test_a_training_that_limrank_train_refuses_stops_everything_before_it_begins(place):
    stub = Stub()
    stub.check = lambda plan, folder: (_ for _ in ()).throw(InputError("train.yaml: lora.rnk: unknown setting"))
    with pytest.raises(InputError, match="rnk"):
        run(write(place), stub)
    assert not stub.trained
    assert not (place / "out").exists()


def test_the_log_of_a_failed_training_is_in_the_message(tmp_path):
    plan = Training(tmp_path / "missing.yaml", None, (), 1, "key")
    with pytest.raises(EngineError, match=r"key\.log: the training failed \(.*missing\.yaml: cannot be read") as caught:
        run_training(plan, 3, tmp_path / "training" / "key", lambda count: None)
    assert "\n" not in str(caught.value)
    assert "missing.yaml" in (tmp_path / "training" / "key.log").read_text()


def test_a_killed_ablation_stops_its_training(tmp_path, monkeypatch):
    """A stand-in for Python that writes its process id and sleeps."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho $$\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(ablate_training, "POLL", 0.05)
    log = tmp_path / "training" / "key.log"

    def kill(count: int) -> None:
        if log.read_text():
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run_training(Training(tmp_path / "a.yaml", None, (), 1, "key"), 3, tmp_path / "training" / "key", kill)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_progress_of_a_training_is_read_from_its_log(tmp_path, monkeypatch):
    python = tmp_path / "python"
    bars = ["Batches:  7/9 [00:01<00:01]", " 20%|##    | 2/10 [00:04<00:16]", " 50%|####  | 5/10 [00:09<00:09]"]
    lines = "".join(f"printf '{bar.replace('%', '%%')}\\r'; sleep 0.1\n" for bar in bars)
    python.write_text(f"#!/bin/sh\n{lines}mkdir -p {tmp_path}/training/key/adapter\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(ablate_training, "POLL", 0.05)
    counts: list[int] = []
    plan = Training(tmp_path / "a.yaml", None, (), 1, "key")
    run_training(plan, 10, tmp_path / "training" / "key", counts.append)
    assert sum(counts) == 5


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


def test_an_adapter_of_a_hub_model_is_split_from_its_name(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert split_name(f"Qwen/Qwen2.5-7B+{tmp_path}") == ("Qwen/Qwen2.5-7B", str(tmp_path))


@pytest.mark.usefixtures("no_plot")
def test_a_whole_ablation_with_a_tiny_model(place, smol_folder):
    """Real training (in this process) and the real suite."""
    from limrank_ir.train.run import train

    model = tiny.make(place / "model", smol_folder, std=0.3)
    write_config(place / "train.yaml", model, data={"sources": SOURCES}, training={"max_steps": 2})

    def train_here(plan: Training, steps: int, folder: Path, advance: Any) -> None:
        train(plan.config, data=plan.data, output=folder, changes=[*plan.changes, f"seed={plan.seed}"])

    bench = {"folder": "collections", "collections": ["given"], "k": 2, "think": "never"}
    config = read_config(write(place, points={"all": {}}, bench=bench, seeds=[4]))
    assert run_ablation(config, place / "out", check=lambda plan, folder: 2, train=train_here) == []
    found = json.loads((place / "out/results.json").read_text())
    (one,) = found["measured"]
    assert (one["seed"], one["training"]["steps"]) == (4, 2)
    assert len(one["adapter"]) > 8
    assert one["figures"]["alone"].keys() == {"given"}
    assert set(one["per_query"]["fused"]["given"]) == {"q1", "q2", "q3"}
