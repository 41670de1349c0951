"""Rerank inside a Ray Data pipeline: rows in, rows with verdicts out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from limrank_ir.engines.batching import GROUPS_PER_WAVE
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats import trec
from limrank_ir.formats.words import some
from limrank_ir.models import DEFAULT, ModelOptions, set_options
from limrank_ir.ray.cluster import TRIES, Workers, placement
from limrank_ir.reranker import LimRank
from limrank_ir.store import VerdictStore
from limrank_ir.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

COLUMNS = ("key", "score", "probability", "reasoning", "label_mass", "finish", "tokens", "cut_tokens")
"""The columns that `rerank_dataset` adds."""


def rerank_dataset(
    ds: Dataset,
    model: str = DEFAULT,
    *,
    query: str = "query",
    passage: str = "text",
    instruction: str | None = None,
    prefix: str = "",
    workers: Workers = Workers(),
    **options: Unpack[ModelOptions],
) -> Dataset:
    """Judge the rows of a Ray dataset. Nothing runs before the result is used, such as by ``write_parquet(folder)``.

    Args:
        ds: rows with at least a query and a passage. Ray brings those of a query together, so their order changes.
        model: the model's name.
        query: the column of the queries.
        passage: the column of the passages.
        instruction: the column of the instructions, or None.
        prefix: put before the names of the new columns, for rows that have a ``score`` already.
        workers: how many workers there are, and what each has.
        options: how to run the model. With ``store``, a file on this machine, known verdicts are not judged again,
            and new ones are saved as workers report them, so that no run loses more than its unfinished batches.

    Returns:
        The rows with `COLUMNS`: ``key`` is the store's, in hexadecimal, ``score`` the log-odds, ``tokens`` those of
        prompt and thought.

    Raises:
        InputError: Ray is not installed, an option is invalid, or the store cannot be opened.
    """
    need("rerank_dataset", "ray", "ray", "pyarrow")
    chosen: dict[str, Any] = set_options(options)
    store = chosen.pop("store", None)
    LimRank(model, **chosen)  # raises if an option is wrong
    if store is not None:
        chosen["store"] = _RemoteStore(_store_actor(store))
    together = [query] if instruction is None else [query, instruction]
    groups = ds.groupby(together).map_groups(_collapse, batch_format="pyarrow")
    from ray.data import ActorPoolStrategy

    each, count = placement(workers, chosen, spare=1)  # a core for groupby
    with warnings.catch_warnings():
        # Ray 2.60 has no other place for max_task_retries, and says that this one goes in 2.64 (pyproject.toml).
        warnings.simplefilter("ignore", DeprecationWarning)
        return groups.map_batches(
            _Judge,
            fn_constructor_args=(partial(LimRank, model, **chosen), (query, passage, instruction), prefix),
            batch_size=GROUPS_PER_WAVE,
            batch_format="pyarrow",
            # One batch each at a time: one that waits behind another is a worker without work at the end.
            compute=ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
            ray_remote_args_fn=_tries,
            **each,
        )


def _tries() -> dict[str, int]:
    return {"max_task_retries": TRIES - 1}


def _collapse(rows: pa.Table) -> pa.Table:
    """One row that holds all rows of a query, so that batches of rows are whole queries."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return pa.table({"rows": pa.array([sink.getvalue().to_pybytes()], pa.large_binary())})


class _Judge:
    """A worker of `rerank_dataset`: judges the rows of some queries."""

    def __init__(self, make: partial[LimRank], columns: tuple[str, str, str | None], prefix: str) -> None:
        self._limrank = make()
        self._columns = columns
        self._prefix = prefix

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        tables = [pa.ipc.open_stream(rows).read_all() for rows in batch["rows"].to_pylist()]
        rows = pa.concat_tables(tables, promote_options="default")
        wanted = [name for name in self._columns if name is not None]
        if missing := [name for name in wanted if name not in rows.column_names]:
            raise InputError(f"the dataset has no column {missing[0]!r}, but {some(rows.column_names)}")
        if taken := [name for name in COLUMNS if self._prefix + name in rows.column_names]:
            raise InputError(f"the dataset has a column {self._prefix + taken[0]!r} already; give prefix='limrank_'")
        pairs = list(zip(*(rows[name].to_pylist() for name in wanted), strict=True))
        verdicts = self._limrank.judge(pairs)
        for name, values in zip(COLUMNS, self._values(pairs, verdicts), strict=True):
            kind = pa.string() if name in ("key", "reasoning", "finish") else None
            rows = rows.append_column(self._prefix + name, pa.array(values, kind))
        return rows

    def _values(self, pairs: list[tuple[str, ...]], verdicts: list[Verdict]) -> Iterator[list[Any]]:
        """The values of `COLUMNS`."""
        yield [key.hex() for key in self._limrank.keys([self._limrank.prompt(*pair) for pair in pairs])]
        yield [verdict.log_odds for verdict in verdicts]
        yield [verdict.probability for verdict in verdicts]
        yield [verdict.reasoning for verdict in verdicts]
        yield [verdict.label_mass for verdict in verdicts]
        yield [verdict.finish for verdict in verdicts]
        yield [verdict.prompt_tokens + verdict.reasoning_tokens for verdict in verdicts]
        yield [verdict.cut_tokens for verdict in verdicts]


def write_run(
    path: str | os.PathLike[str],
    ds: Dataset,
    *,
    qid: str = "qid",
    docno: str = "docno",
    score: str = "score",
    tag: str = "limrank",
) -> None:
    """Write a dataset's scores as a TREC run, queries in the order of their ids (`limrank_ir.formats.trec.write_run`).

    Args:
        path: the file.
        ds: judged rows, best read from where `rerank_dataset` wrote them: what was not saved runs again.
        qid: the column of the queries' ids.
        docno: the column of the documents' ids.
        score: the column of the scores.
        tag: the name of the system, the last column.

    Raises:
        InputError: as for `limrank_ir.formats.trec.write_run`.
    """
    run: dict[str, list[tuple[str, float]]] = {}
    for batch in ds.select_columns([qid, docno, score]).iter_batches(batch_size=None, batch_format="pyarrow"):
        for query, document, value in zip(*(batch[name].to_pylist() for name in (qid, docno, score)), strict=True):
            run.setdefault(str(query), []).append((str(document), value))
    trec.write_run(path, dict(sorted(run.items())), tag=tag)


class _RemoteStore(VerdictStore):
    """The store of the machine that started the run, as its workers see it: SQLite is not for network file systems."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        import ray

        return ray.get(self._actor.get.remote(keys))

    def put(self, verdicts: Iterable[tuple[bytes, Verdict]]) -> None:
        import ray

        ray.get(self._actor.put.remote(list(verdicts)))


def _store_actor(store: str | os.PathLike[str] | VerdictStore) -> Any:
    """An actor on this machine that opens a store. It is restarted if it dies, and stops with the dataset."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    path = store.path if isinstance(store, VerdictStore) else Path(store).expanduser()
    VerdictStore(path).close()  # raises if it is not a store
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lasting = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return ray.remote(VerdictStore).options(**lasting).remote(path.absolute())
