"""A small ablation for the tests of ``limrank bench ablate``: its configuration, and a stand-in for training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limrank_ir.benchmarks.ablate import config as ablate_config
from limrank_ir.benchmarks.ablate.config import read_config
from limrank_ir.benchmarks.ablate.results import VARIANTS, Measured
from limrank_ir.benchmarks.ablate.run import Job, run_ablation
from limrank_ir.benchmarks.ablate.training import Training
from limrank_ir.errors import EngineError
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


def write_place(tmp_path: Path) -> Path:
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


def run(path: Path, stub: Stub) -> list[str]:
    output = path.parent / "out"
    return run_ablation(read_config(path), output, check=stub.check, train=stub.train, measure=stub.measure)
