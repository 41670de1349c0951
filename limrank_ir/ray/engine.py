"""An engine that is several engines: the waves of a run go to workers on the machines of a Ray cluster."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Unpack

from limrank_ir.engines.batching import waves
from limrank_ir.errors import LimRankError
from limrank_ir.extras import need
from limrank_ir.models import DEFAULT, ENGINE_OPTIONS, ModelOptions, set_options
from limrank_ir.prompts import Prompt
from limrank_ir.ray.cluster import Workers, connect, explained, map_by_workers, quiet_data, resources
from limrank_ir.reranker import LimRank
from limrank_ir.verdict import Reading

if TYPE_CHECKING:
    from limrank_ir.engines import Label


def on_ray(
    model: str = DEFAULT, *, address: str = "local", workers: Workers = Workers(), **options: Unpack[ModelOptions]
) -> LimRank:
    """A reranker whose engine runs in several workers.

    Args:
        model: the model's name.
        address: where Ray runs (`connect`).
        workers: how many workers there are, and what each has.
        options: how to run the model. The workers have the engine's options; the ``store`` stays with this process.

    Returns:
        The reranker.

    Raises:
        InputError: Ray is not installed, or an option is invalid.
    """
    chosen = set_options(options)
    engine = RayEngine(model, workers, address, **chosen)
    of_engines = {name for names in ENGINE_OPTIONS.values() for name in names}
    own: dict[str, Any] = {name: value for name, value in chosen.items() if name not in of_engines}
    return LimRank(model, **{**own, "engine": engine})


class RayEngine:
    """Runs an engine in several workers. Waves of prompts are those of a single process, and so are the scores."""

    def __init__(
        self, model: str, workers: Workers = Workers(), address: str = "local", **options: Unpack[ModelOptions]
    ) -> None:
        """Choose a model, its engine, and the workers. Ray starts with the first prompt.

        Args:
            model: the model's name.
            workers: how many workers there are, and what each has.
            address: where Ray runs (`connect`).
            options: how to run the model. Its ``store`` has no effect here.

        Raises:
            InputError: Ray is not installed, or an option is invalid.
        """
        need("--ray", "ray", "ray", "pyarrow")
        chosen = {name: value for name, value in set_options(options).items() if name != "store"}
        self._make = partial(LimRank, model, **chosen)
        self._make()  # raises if an option is wrong
        self._options = chosen
        self._workers = workers
        self._address = address

    def __repr__(self) -> str:
        return f"RayEngine({self._address!r})"

    @cached_property
    def identity(self) -> str:
        """The identity of a worker's engine: its default precision depends on its machine, not on this one."""
        connect(self._address)
        import ray

        ask = ray.remote(_identity).options(**resources(self._workers, self._options))
        with explained():
            return ray.get(ask.remote(self._make))

    def read_labels(
        self,
        prompts: Sequence[Prompt],
        labels: Sequence[Label],
        *,
        think: bool,
        budget: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Reading]]]:
        """Read labels wave by wave (see `limrank_ir.engines.Engine.read_labels`).

        Raises:
            LimRankError: as the worker's engine raises it.
            EngineError: workers die again and again with the same wave, or the cluster is lost.
        """
        connect(self._address)
        import ray

        ask = {"labels": labels, "think": think, "budget": budget}
        tasks = []
        for wave in waves(dict(enumerate(prompts))):
            indices = [index for group in wave for index in group]
            if not done >= set(indices):
                known = {place for place, index in enumerate(indices) if index in done}
                tasks.append({"task": pickle.dumps((indices, [prompts[index] for index in indices], known, ask))})
        if not tasks:
            return
        with explained(), quiet_data():
            waiting = ray.data.from_items(tasks, override_num_blocks=len(tasks))
            how = {"most": len(tasks), "batch_size": 1}
            found = map_by_workers(waiting, _Reader, (self._make,), self._workers, self._options, **how)
            for batch in found.iter_batches(batch_size=None, prefetch_batches=0):
                for answer in map(pickle.loads, batch["answer"]):
                    if isinstance(answer, LimRankError):
                        raise answer
                    yield answer


class _Reader:
    """A worker of `RayEngine`: reads labels, one wave at a time."""

    def __init__(self, make: partial[LimRank]) -> None:
        self._engine = make().engine  # loads with the first wave: Ray tries constructors again, whatever they raise

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """Readings with the indices of their prompts, or the error: of one that is raised, Ray Data keeps the text."""
        (task,) = batch["task"]
        indices, prompts, done, ask = pickle.loads(task)
        try:
            read = self._engine.read_labels(prompts, done=done, **ask)
            answer: Any = [(indices[place], reading) for part in read for place, reading in part]
        except LimRankError as error:
            answer = error
        return {"answer": [pickle.dumps(answer)]}


def _identity(make: partial[LimRank]) -> str:
    return make().engine.identity
