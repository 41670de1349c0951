"""Ray itself: connect to it, place workers on it, and keep its notes from the user's terminal."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from limrank_ir.engines.choice import engine_kind
from limrank_ir.errors import EngineError, InputError, LimRankError
from limrank_ir.extras import need

LOGS = "/tmp/ray/session_latest/logs"  # of each machine, by default
TRIES = 3  # of a batch whose workers die: one that kills every worker must end the run
_SILENCE = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report its use to its makers
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # all: notes on workers that died would go to stdout, into the user's run
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # announced at every start otherwise
}


@dataclass(frozen=True, slots=True)
class Workers:
    """How many engines run, and what each has.

    Attributes:
        count: the number of workers, each with an engine of its own; None: as many as the cluster's GPUs or, if they
            use none, one for each machine.
        gpus: GPUs of a worker: a fraction shares one, and a tensor-parallel engine needs one for each part; None: 1 if
            the cluster has GPUs and the engine uses them, or what vLLM's ``tensor_parallel_size`` says.
        cpus: CPU cores of a worker; None: with a GPU 1, without one all of a machine's. They are also its threads.
    """

    count: int | None = None
    gpus: float | None = None
    cpus: float | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("count", self.count, 1), ("gpus", self.gpus, 0), ("cpus", self.cpus, 0)):
            if value is not None and not (math.isfinite(value) and value >= least):
                raise InputError(f"workers: {name} is {value}; it must be at least {least}")


def connect(address: str = "local") -> None:
    """Connect to Ray, or start it. Nothing is done if this process is connected already.

    Args:
        address: ``"local"`` starts Ray on this machine until the process ends; ``"auto"`` finds the cluster that this
            machine belongs to; or the address of a cluster, ``host:6379``.

    Raises:
        InputError: Ray is not installed.
        EngineError: there is no cluster at the address.
    """
    need("Ray", "ray", "ray", "pyarrow")
    for name, value in _SILENCE.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    try:
        with _no_stderr():  # Ray's C++ part announces there that it will be silent
            ray.init(
                address=address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(f"--ray {address}: cannot connect to Ray ({reason}); start it with `ray start`") from None


def placement(workers: Workers, options: Mapping[str, Any], spare: int = 0) -> tuple[dict[str, float], int]:
    """What each worker has, and how many there are.

    Args:
        workers: what the user says of it.
        options: the model's options, on which the defaults depend.
        spare: CPU cores to leave to others, if cores are shared out by default.

    Returns:
        ``num_cpus`` and ``num_gpus`` of each worker, and the number of workers.

    Raises:
        InputError: the cluster has no such machine.
    """
    import ray

    has = ray.cluster_resources()
    server = engine_kind(options.get("engine", "local")) == "server"
    gpus = workers.gpus
    if gpus is None:
        parts = options.get("engine_options", {}).get("tensor_parallel_size", 1)
        gpus = 0 if server or options.get("device") == "cpu" or not has.get("GPU") else parts
    if gpus > has.get("GPU", 0):
        raise InputError(f"a worker needs {gpus:g} GPUs; Ray has {has.get('GPU', 0):g}: lower --gpus-per-worker")
    count = workers.count or (max(1, int(has["GPU"] // gpus)) if gpus else _machines())
    cpus = workers.cpus
    if cpus is None:
        share = (has.get("CPU", 1) - spare) // max(workers.count or 1, _machines())
        cpus = 1 if gpus or server else max(1, int(share))
    return {"num_cpus": cpus, "num_gpus": gpus}, count


def _machines() -> int:
    import ray

    return max(1, sum(node["Alive"] for node in ray.nodes()))


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Close stderr for everything in this process, C++ included."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def explained() -> Iterator[None]:
    """Turn Ray's errors into ours: the worker's own error if it raised one."""
    try:
        yield
    except Exception as error:
        from ray.exceptions import RayActorError, RayError

        # Ray's copy of an error is of its class, too, but says it with a traceback.
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, LimRankError) and not isinstance(cause, RayError):
            raise cause from None
        if not isinstance(error, RayError):
            raise
        if isinstance(error, RayActorError):
            what = f"Ray workers died {TRIES} times with the same batch, perhaps out of memory"
        else:
            what = f"Ray failed ({str(error).strip().splitlines()[0][:200]})"
        raise EngineError(f"{what}; see its logs ({LOGS}), and repeat the run to continue") from None
