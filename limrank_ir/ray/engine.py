"""An engine that is several engines: the waves of a run go to workers on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Unpack

from limrank_ir.engines import writer
from limrank_ir.engines.batching import waves
from limrank_ir.engines.twice import plain
from limrank_ir.extras import need
from limrank_ir.models import DEFAULT, ENGINE_OPTIONS, ModelOptions, set_options
from limrank_ir.prompts import Prompt
from limrank_ir.ray.cluster import TRIES, Workers, connect, explained, placement
from limrank_ir.reranker import LimRank
from limrank_ir.verdict import Reading, Written

if TYPE_CHECKING:
    from limrank_ir.engines import Engine, Label


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
        self._engine = self._make().engine  # raises if an option is wrong; its model never loads
        self._options = chosen
        self._workers = workers
        self._address = address
        self._actors: list[Any] = []

    def __repr__(self) -> str:
        return f"RayEngine({self._address!r})"

    @property
    def plain(self) -> Engine:
        """The same workers, whose engines read the labels they are given (`limrank_ir.engines.twice.plain`)."""
        return self if plain(self._engine) is self._engine else _Plain(self)

    @cached_property
    def identity(self) -> str:
        """The identity of a worker's engine: its default precision depends on its machine, not on this one."""
        (worker,) = self._started(1)[:1]
        import ray  # not before it is silenced, when it is started

        with explained():
            return ray.get(worker.identity.remote())

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
        yield from self._work("read_labels", prompts, done, {"labels": labels, "think": think, "budget": budget})

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        budget: int,
        stop: Sequence[str] = (),
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Written]]]:
        """Continue prompts wave by wave (see `limrank_ir.engines.Writer.write`).

        Raises:
            LimRankError: as for `read_labels`; or the workers' engine can only read labels.
        """
        writer(plain(self._engine))
        yield from self._work("write", prompts, done, {"budget": budget, "stop": stop}, as_asked=True)

    def _work(
        self, method: str, prompts: Sequence[Prompt], done: Set[int], ask: dict[str, Any], *, as_asked: bool = False
    ) -> Iterator[list[tuple[int, Any]]]:
        """Hand waves to the workers.

        Args:
            method: the method of their engines that does the work.
            prompts: the prompts.
            done: indices to skip.
            ask: further arguments of the method.
            as_asked: whether exactly that is done, rather than a format's own grades read at two places.

        Yields:
            Waves of (index of the prompt, its result).
        """
        tasks = []
        for wave in waves(dict(enumerate(prompts))):
            indices = [index for group in wave for index in group]
            if not done >= set(indices):
                known = {place for place, index in enumerate(indices) if index in done}
                tasks.append((indices, [prompts[index] for index in indices], known))
        if not tasks:
            return
        finished = False
        with explained():
            workers = self._started(len(tasks))
            from ray.util import ActorPool

            try:
                yield from ActorPool(workers).map_unordered(
                    lambda worker, task: worker.work.remote(method, task, ask, as_asked), tasks
                )
                finished = True
            finally:
                if not finished:
                    self._stop()  # what they still do is for nobody

    def _started(self, most: int) -> list[Any]:
        """The workers, of which there are no more than tasks. They keep their models from call to call."""
        connect(self._address)
        import ray

        each, count = placement(self._workers, self._options)
        worker = ray.remote(_Worker).options(
            **each, max_restarts=-1, max_task_retries=TRIES - 1, scheduling_strategy="SPREAD"
        )
        while len(self._actors) < min(count, most):
            self._actors.append(worker.remote(self._make))
        return list(self._actors)

    def _stop(self) -> None:
        import ray

        while self._actors:
            ray.kill(self._actors.pop())


class _Plain:
    """A `RayEngine` whose workers do exactly what they are asked for.

    A format's own grades can have the same labels as another question, so the labels do not tell which is meant.
    """

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        self.write = engine.write

    def __repr__(self) -> str:
        return repr(self._engine)

    @property
    def identity(self) -> str:
        return self._engine.identity

    def read_labels(
        self,
        prompts: Sequence[Prompt],
        labels: Sequence[Label],
        *,
        think: bool,
        budget: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Reading]]]:
        ask = {"labels": labels, "think": think, "budget": budget}
        return self._engine._work("read_labels", prompts, done, ask, as_asked=True)


class _Worker:
    """An engine in a process of its own, somewhere in the cluster. Its model loads with the first wave."""

    def __init__(self, make: partial[LimRank]) -> None:
        self._engine = make().engine

    def identity(self) -> str:
        return self._engine.identity

    def work(
        self, method: str, task: tuple[list[int], list[Prompt], Set[int]], ask: dict[str, Any], as_asked: bool
    ) -> list[tuple[int, Any]]:
        """Do a wave by a method of the engine; returns the results with the indices of their prompts."""
        indices, prompts, done = task
        engine = plain(self._engine) if as_asked else self._engine
        batches = getattr(engine, method)(prompts, done=done, **ask)
        return [(indices[place], result) for batch in batches for place, result in batch]
