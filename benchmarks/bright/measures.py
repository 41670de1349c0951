"""BRIGHT's own measures and files: ``score.json`` and ``results.json`` (github xlang-ai/BRIGHT: run.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..folder import write_json
from ..systems.system import ScoredRun

PRIMARY = "nDCG@10"
CUTOFFS = (1, 5, 10, 25, 50, 100)
NAMES = {
    **{f"nDCG@{k}": f"NDCG@{k}" for k in CUTOFFS},
    **{f"AP@{k}": f"MAP@{k}" for k in CUTOFFS},
    **{f"R@{k}": f"Recall@{k}" for k in CUTOFFS},
    **{f"P@{k}": f"P@{k}" for k in CUTOFFS},
    "RR": "MRR",
}
"""ir_measures' names to BRIGHT's, in the order of its results.json."""


def official(mean: Mapping[str, float]) -> dict[str, float]:
    """Figures as BRIGHT's ``results.json`` has them.

    Args:
        mean: ir_measures' name to the mean over the queries, for all of `NAMES`.

    Returns:
        BRIGHT's name to the value, rounded to 5 digits.
    """
    return {name: round(mean[measure], 5) for measure, name in NAMES.items()}


def write_official(folder: Path, task: str, label: str, long: bool, run: ScoredRun, mean: Mapping[str, Any]) -> None:
    """Write a run and its figures in the layout of BRIGHT's repository, ``{task}_{model}_long_{False}/``.

    Args:
        folder: where that folder goes.
        task: the task.
        label: the model, as part of a path.
        long: whether the documents are long.
        run: the ranking.
        mean: its figures, as for `official`.
    """
    place = folder / f"{task}_{label}_long_{long}"
    write_json(place / "score.json", {qid: dict(scored) for qid, scored in run.items()})
    write_json(place / "results.json", official(mean))
