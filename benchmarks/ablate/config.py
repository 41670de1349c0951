"""The configuration of an ablation: a training run, and the points that differ from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from limrank_ir.errors import InputError
from limrank_ir.models import ModelOptions, PromptFormatName, Think
from limrank_ir.workshop.settings import read_yaml, validated

Source = Mapping[str, Any]
"""A source of a training configuration, with its settings (`limrank_ir.train.config.DataSource`)."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Inference(_Part):
    """How a point's model is run; None: what the ablation's `bench` says, or the model's default.

    Attributes:
        k: documents to rerank for each topic.
        think: the think mode.
        budget: the most tokens of a thought.
        max_length: the most tokens of a prompt.
        prompt_format: for models that ``limrank models`` does not list; None: that of the training configuration.
        engine: as ``--engine``.
        device: as ``--device``.
        dtype: as ``--dtype``.
    """

    k: int | None = Field(default=None, ge=1)
    think: Think | None = None
    budget: int | None = Field(default=None, ge=1)
    max_length: int | None = Field(default=None, ge=16)
    prompt_format: PromptFormatName | None = None
    engine: str | None = None
    device: str | None = None
    dtype: str | None = None


class Bench(Inference):
    """What the points are measured on, the same for all of them, and how their models are run.

    Attributes:
        folder: where the collections are, relative to the configuration file.
        collections: folders in it, as ``limrank bench suite`` takes them.
        k: documents to rerank for each topic.
        queries: how many judged topics to sample from each collection; None: all of them.
        seed: seed of the sample. It is not one of the training's seeds: all points answer the same queries.
    """

    folder: Path = Path()
    collections: tuple[Path, ...] = Field(min_length=1)
    k: int = Field(default=20, ge=1)
    queries: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)


class Point(_Part):
    """One variant: what differs from the ablation's own settings.

    Attributes:
        about: what it is, for the report.
        model: measure this model, without training: a name, a folder, or ``MODEL+ADAPTER``. None: train.
        set: settings of the training configuration, such as ``data.share: 0.1``, as ``limrank train --set``.
        sources: the sources, instead of those of the training configuration.
        each: settings of every source, such as ``passage_words: 60``.
        without: sources to leave out: patterns of their paths, such as ``train-medquad/*``.
        queries: the number of training queries, shared out among the sources in proportion to their own `queries`.
        bench: how the model is run.
    """

    about: str = ""
    model: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    sources: tuple[dict[str, Any], ...] | None = Field(default=None, min_length=1)
    each: dict[str, Any] = Field(default_factory=dict)
    without: tuple[str, ...] = ()
    queries: int | None = Field(default=None, ge=1)
    bench: Inference = Inference()

    @model_validator(mode="after")
    def _trains_or_not(self) -> Point:
        given = [name for name in ("set", "sources", "each", "without", "queries") if getattr(self, name)]
        if self.model is not None and given:
            raise ValueError(f"a point with a model is not trained; remove model, or {', '.join(given)}")
        return self


class AblateConfig(_Part):
    """An ablation.

    Attributes:
        train: the training configuration that all points start from, relative to this file.
        data: the folder of its sources, relative to this file; None: what the training configuration says.
        set: as `Point.set`, for all points.
        sources: as `Point.sources`, for all points that do not say otherwise.
        each: as `Point.each`, for all points.
        queries: as `Point.queries`, for all points that do not say otherwise.
        bench: what the points are measured on.
        seeds: the training's seeds. Each trained point is trained once with each: another draw of rows, another
            order, another initial adapter.
        reference: the name of the point that all others are compared with.
        points: name to point.
    """

    train: Path
    data: Path | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    sources: tuple[dict[str, Any], ...] | None = Field(default=None, min_length=1)
    each: dict[str, Any] = Field(default_factory=dict)
    queries: int | None = Field(default=None, ge=1)
    bench: Bench
    seeds: tuple[int, ...] = Field(min_length=1)
    reference: str
    points: dict[str, Point] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> AblateConfig:
        if self.reference not in self.points:
            raise ValueError(f"reference: no point is called {self.reference!r}; choose from: {', '.join(self.points)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed is given twice; give different ones")
        for name, settings in [("set", self.set), *((f"points.{name}.set", p.set) for name, p in self.points.items())]:
            for setting in settings:
                if setting in ("seed", "output", "data.sources", "data.folder"):
                    raise ValueError(f"{name}: {setting} is set by bench ablate; use seeds, sources, or data")
        return self


def read_config(path: Path, *, data: Path | None = None) -> AblateConfig:
    """Read and check a configuration.

    Args:
        path: a YAML file; paths in it are relative to its folder.
        data: the folder of the training data, instead of ``data``.

    Returns:
        The configuration, with absolute paths.

    Raises:
        InputError: the file cannot be read or is not YAML, or a setting is unknown or invalid.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a configuration; it must have train, bench, seeds, reference, and points")
    config = validated(AblateConfig, raw, path)

    def at(given: Path) -> Path:
        return (path.absolute().parent / given.expanduser()).resolve()

    folder = at(config.bench.folder)
    bench = config.bench.model_copy(
        update={"folder": folder, "collections": tuple(folder / name for name in config.bench.collections)}
    )
    if data is not None:
        rows: Path | None = data.expanduser().resolve()
    else:
        rows = None if config.data is None else at(config.data)
    return config.model_copy(update={"train": at(config.train), "data": rows, "bench": bench})


def inference(config: AblateConfig, point: Point, prompt_format: str | None) -> tuple[int, ModelOptions]:
    """How a point's model is run.

    Args:
        config: the ablation.
        point: one of its points.
        prompt_format: that of the training configuration, or None.

    Returns:
        k, and the model's options.
    """
    names = [name for name in Inference.model_fields if name != "k"]
    general = {name: getattr(config.bench, name) for name in names}
    own = {name: getattr(point.bench, name) for name in names}
    given = {name: own[name] if own[name] is not None else general[name] for name in names}
    options = {name: value for name, value in given.items() if value is not None}
    if point.model is None and prompt_format is not None:
        options.setdefault("prompt_format", prompt_format)
    return point.bench.k or config.bench.k, ModelOptions(**options)  # type: ignore[typeddict-item]


def sources(config: AblateConfig, name: str, own: Sequence[Source]) -> list[dict[str, Any]]:
    """The sources that a point is trained on.

    Args:
        config: the ablation.
        name: one of its points.
        own: the sources of the training configuration.

    Returns:
        Sources, as ``limrank train --set data.sources=...`` takes them.

    Raises:
        InputError: a pattern matches no source, none is left, or `queries` cannot be shared out.

    Example:
        With sources of 30 and 10 queries, ``queries: 20`` takes 15 and 5 of them, and ``without: [second/*],
        queries: 20`` takes 20 of the first.
    """
    point = config.points[name]
    kept = [dict(source) for source in point.sources or config.sources or own]
    for pattern in point.without:
        if not any(fnmatch(str(source.get("path")), pattern) for source in kept):
            paths = ", ".join(str(source.get("path")) for source in kept)
            raise InputError(f"points.{name}.without: {pattern} matches no source; there are: {paths}")
    kept = [s for s in kept if not any(fnmatch(str(s.get("path")), pattern) for pattern in point.without)]
    if not kept:
        raise InputError(f"points.{name}.without: no source is left; leave out fewer")
    kept = [{**source, **config.each, **point.each} for source in kept]
    wanted = point.queries or config.queries
    return kept if wanted is None else _shared_out(kept, wanted, name)


def _shared_out(kept: Sequence[dict[str, Any]], wanted: int, name: str) -> list[dict[str, Any]]:
    """Sources with `wanted` queries in all, in proportion to their own, rounded by the largest remainders."""
    own = [int(source.get("queries") or 0) for source in kept]
    if not all(own):
        raise InputError(
            f"points.{name}: queries needs the queries of every source; add them, or set data.share: 0.1 instead"
        )
    total = sum(own)
    if not len(kept) <= wanted <= total:
        raise InputError(
            f"points.{name}: {len(kept)} sources have {total} queries in all, not {wanted}; change queries"
        )
    counts = [1] * len(kept)  # every source keeps a query; the next ones go where most are missing
    for _ in range(wanted - len(kept)):
        counts[max(range(len(kept)), key=lambda place: wanted * own[place] / total - counts[place])] += 1
    return [{**source, "queries": count} for source, count in zip(kept, counts, strict=True)]
