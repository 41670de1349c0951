"""How BRIGHT is measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.models import ModelOptions

from .versions import TASKS, VERSIONS, Expansion, VersionName

BM25 = "bm25"  # what --first-stage takes for the official BM25
DEPTHS = (10, 100)


@dataclass(frozen=True)
class BrightSettings:
    """How to measure.

    Attributes:
        version: the version of BRIGHT.
        tasks: the tasks; empty: all of the version (with `long`, all that have long documents).
        data: a local copy of the data set, or None for the hub.
        first_stage: ``bm25``, or where runs are: a folder, a pattern with ``{task}``, or, for one task, a file.
        expansion: whose chains of thought BM25 reads instead of the queries, or None. The reranker never reads them.
        depths: how many candidates to rerank; each is measured.
        long: long documents instead of passages.
        task_prompts: whether the reranker reads the query in its task's prompt.
        fuse: whether to measure the fusion with the first stage, too.
        fuse_weight: the reranker's weight in it, or None for the model's own.
        models: how to run the model.
    """

    version: VersionName = "v1"
    tasks: tuple[str, ...] = ()
    data: Path | None = None
    first_stage: str = BM25
    expansion: Expansion | None = None
    depths: tuple[int, ...] = DEPTHS
    long: bool = False
    task_prompts: bool = True
    fuse: bool = True
    fuse_weight: float | None = None
    models: ModelOptions = dataclasses.field(default_factory=ModelOptions)

    @property
    def chosen(self) -> list[str]:
        """The tasks, in the order of published tables; unknown ones last."""
        sizes = VERSIONS[self.version].sizes
        given = self.tasks or [task for task, size in sizes.items() if not self.long or size.long is not None]
        return sorted(dict.fromkeys(given), key=lambda task: TASKS.index(task) if task in TASKS else len(TASKS))

    def protocol(self, model: str) -> dict[str, Any]:
        """What must be the same for all results in a folder."""
        return {
            "--model": model,
            "--version": self.version,
            "--data": None if self.data is None else str(self.data),
            "--first-stage": self.first_stage,
            "--expanded-queries": self.expansion,
            "--long": self.long,
            "--no-task-prompts": not self.task_prompts,
            "--max-length": self.models.get("max_length"),
        }

    @property
    def stage_name(self) -> str:
        """The first stage, in words."""
        if self.first_stage != BM25:
            return f"the runs in {self.first_stage}"
        queries = "the original queries" if self.expansion is None else f"{self.expansion}'s chains of thought"
        return f"query-side BM25 of {queries}"
