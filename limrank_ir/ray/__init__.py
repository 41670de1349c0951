"""More than one machine: engines as Ray actors, which Ray Data feeds, restarts, and places on GPUs.

`RayEngine` is an engine like any other, so that `limrank rerank --ray` differs from a single process in where its
waves run, and in nothing else. `rerank_dataset` does the same inside a user's own Ray Data pipeline.
"""

from __future__ import annotations

from limrank_ir.ray.cluster import Workers, connect
from limrank_ir.ray.dataset import COLUMNS, rerank_dataset, write_run
from limrank_ir.ray.engine import RayEngine

__all__ = ["COLUMNS", "RayEngine", "Workers", "connect", "rerank_dataset", "write_run"]
