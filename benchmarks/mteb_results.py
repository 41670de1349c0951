"""Result files as the MTEB leaderboard takes them, written by mteb itself from verdicts that are already stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.models import MODELS, ModelOptions

from .systems.cross_encoder import CROSS_ENCODER
from .systems.dense import DENSE
from .systems.limrank import split_name


def check_models(names: Sequence[str]) -> None:
    """Make sure that mteb can run the systems, before anything runs.

    Args:
        names: the systems' names.

    Raises:
        InputError: mteb is not installed, or a system is not a LimRank model.
    """
    need("--mteb", "mteb", "mteb")
    for name in names:
        if name == DENSE or name.startswith(CROSS_ENCODER):
            raise InputError(f"--mteb: {name} is not a LimRank model; mteb can run it by itself, so leave it out")


def write_mteb_results(
    name: str, options: ModelOptions, store: Path, tasks: Sequence[Any], folder: Path
) -> dict[str, float]:
    """Evaluate a LimRank model with ``mteb.evaluate``. Verdicts in the store are not computed again.

    mteb writes ``results/MODEL/REVISION/TASK.json`` and ``model_meta.json``, the layout of the repository of MTEB's
    results (github embeddings-benchmark/results), into the folder.

    Args:
        name: the model's name, or MODEL+ADAPTER.
        options: how it was run.
        store: its verdicts.
        tasks: mteb's task objects, which may have their data already.
        folder: where the files go.

    Returns:
        Each task's name to its main score, as mteb computes it.

    Raises:
        InputError: an option is invalid.

    Example:
        >>> write_mteb_results("limrank-smol", {}, Path("verdicts.sqlite"), [task], Path("mteb"))  # doctest: +SKIP
        {'Core17InstructionRetrieval': 0.012}
    """
    import mteb

    from limrank_ir.mteb import MtebCrossEncoder

    base, adapter = split_name(name)
    chosen = options.copy()
    chosen["adapter"] = adapter
    chosen["prompt_format"] = None if base in MODELS else options.get("prompt_format")
    chosen["store"] = store
    cache = mteb.ResultCache(cache_path=folder)
    found = mteb.evaluate(
        MtebCrossEncoder(base, **chosen),
        list(tasks),
        cache=cache,
        co2_tracker=False,
        overwrite_strategy="always",
        show_progress_bar=False,
    )
    return {result.task_name: float(result.get_score()) for result in found.task_results}
