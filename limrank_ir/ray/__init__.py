"""More than one machine: engines as Ray actors, which Ray feeds, restarts, and places on GPUs.

`on_ray` makes a reranker with a `RayEngine`, an engine like any other: `limrank rerank --ray` differs from a single
process in where its waves run, and in nothing else. `rerank_dataset` does the same in a user's own pipeline.
"""

from __future__ import annotations

from limrank_ir.ray.cluster import Workers, connect
from limrank_ir.ray.dataset import COLUMNS, rerank_dataset, write_run
from limrank_ir.ray.engine import RayEngine, on_ray

__all__ = ["COLUMNS", "RayEngine", "Workers", "connect", "on_ray", "rerank_dataset", "write_run"]
