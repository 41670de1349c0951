"""What a run of BRIGHT measured: a result for each task, system, depth, and variant; and its tables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..markdown import Table
from ..systems.system import Work
from .measures import PRIMARY
from .versions import SHORT

Variant = Literal["first stage", "alone", "fused"]


@dataclass(frozen=True)
class BrightResult:
    """A ranking on a task.

    Attributes:
        task: the task.
        system: the label of the system; of the first stage, its name.
        variant: ``first stage``, ``alone`` (the system's own order), or ``fused`` with the first stage.
        k: how many candidates were reranked; None for the first stage.
        mean: ir_measures' name to the mean over the queries, for BRIGHT's measures.
        per_query: qid to nDCG@10.
        work: what reranking took, or None for the first stage.
    """

    task: str
    system: str
    variant: Variant
    k: int | None
    mean: dict[str, float]
    per_query: dict[str, float]
    work: Work | None = None


@dataclass(frozen=True)
class Bounds:
    """What an order of the top k candidates can reach: nDCG@10.

    Attributes:
        task: the task.
        k: how many candidates.
        best: the best possible order.
        random: the expectation of a random order, computed exactly.
    """

    task: str
    k: int
    best: float
    random: float


@dataclass(frozen=True)
class BrightReport:
    """Everything in results.json.

    Attributes:
        results: the rankings.
        bounds: the bounds of each task and depth.
        tasks: task to what it was measured on: source, fingerprint, numbers of queries and of removed documents.
        notes: what a reader must know before comparing.
        settings: the options.
        systems: label to what run cards say about a system.
        environment: command, versions, hardware.
    """

    results: list[BrightResult]
    bounds: list[Bounds]
    tasks: dict[str, dict[str, Any]]
    notes: list[str]
    settings: dict[str, Any]
    systems: dict[str, Any]
    environment: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON, unrounded, with the averages over the tasks."""
        return {
            "averages": [{"label": label, PRIMARY: average(values)} for label, values in rows(self)],
            **dataclasses.asdict(self),
        }


def rows(report: BrightReport) -> list[tuple[str, dict[str, float]]]:
    """The rows of the main table, a block for each depth.

    Args:
        report: the results.

    Returns:
        (label, task to nDCG@10): the first stage; then for each depth a random order, the systems alone and fused, and
        the best order.
    """

    def values(wanted: Callable[[BrightResult], bool]) -> dict[str, float]:
        return {result.task: result.mean[PRIMARY] for result in report.results if wanted(result)}

    found = [("first stage", values(lambda result: result.variant == "first stage"))]
    for k in sorted({bound.k for bound in report.bounds}):
        bounds = [bound for bound in report.bounds if bound.k == k]
        found.append((f"random order of the top {k}", {bound.task: bound.random for bound in bounds}))
        for system in dict.fromkeys(result.system for result in report.results if result.k == k):
            for variant in ("alone", "fused"):
                row = values(lambda r, s=system, v=variant, k=k: (r.system, r.variant, r.k) == (s, v, k))  # type: ignore[misc]
                if row:
                    found.append((f"{system}, top {k}{', fused' if variant == 'fused' else ''}", row))
        found.append((f"best order of the top {k}", {bound.task: bound.best for bound in bounds}))
    return found


def average(values: Mapping[str, float]) -> float:
    """The macro-average: each task counts the same, whatever its number of queries."""
    return math.fsum(values.values()) / len(values)


def main_table(report: BrightReport) -> Table:
    """nDCG@10 times 100, with the tasks' short names and the average: header and rows."""
    tasks = list(report.tasks)
    body = [
        [label, *(f"{100 * values[task]:.1f}" for task in tasks), f"{100 * average(values):.2f}"]
        for label, values in rows(report)
    ]
    return [PRIMARY, *(SHORT[task] for task in tasks), f"Avg of {len(tasks)}"], body


def work_table(report: BrightReport) -> Table:
    """What reranking took, over all tasks: header and rows."""
    header = ["", "pairs", "judged now", "seconds", "tokens", "passages cut", "tokens cut", "verdicts forced"]
    body = []
    alone = [result for result in report.results if result.variant == "alone"]
    for system, k in dict.fromkeys((result.system, result.k) for result in alone):
        works = [result.work for result in alone if (result.system, result.k) == (system, k) and result.work]
        body.append([f"{system}, top {k}", *_sums(works)])
    return header, body


def _sums(works: Sequence[Work]) -> list[str]:
    return [
        f"{sum(work.pairs for work in works):,}",
        f"{sum(work.judged for work in works):,}",
        f"{math.fsum(work.seconds for work in works):,.0f}",
        f"{sum(work.tokens for work in works):,}",
        f"{sum(work.cut for work in works):,}",
        f"{sum(work.cut_tokens for work in works):,}",
        f"{sum(work.forced for work in works):,}",
    ]
