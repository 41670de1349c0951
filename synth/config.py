"""What a synthesis is made of, read from a YAML file and checked before anything is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from limrank_ir.errors import InputError
from limrank_ir.llm.chat import Server
from limrank_ir.workshop.settings import read_yaml, validated

from .records import Record


class ChatModel(Record):
    """A model by name, and how to ask it.

    Attributes:
        model: its name at the server.
        base_url: the server's; None: OpenAI's.
        key_env: the environment variable with the API key.
        concurrency: the most requests at a time.
        timeout: seconds to wait for an answer.
        retries: see `limrank_ir.llm.chat.Server`.
        structured: how JSON is asked for: ``"schema"`` (response_format json_schema), ``"object"`` (json_object), or
            ``"none"`` for servers that know neither.
        parameters: further fields of every request: temperature, max_tokens, ...
    """

    model: str = Field(min_length=1)
    base_url: str | None = None
    key_env: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=8, ge=1)
    timeout: float = Field(default=600, gt=0)
    retries: int = Field(default=6, ge=0)
    structured: Literal["schema", "object", "none"] = "schema"
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _address(cls, base_url: str | None) -> str | None:
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://, such as http://localhost:8000/v1")
        return base_url

    @field_validator("parameters")
    @classmethod
    def _not_ours(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name in ("model", "messages", "n", "seed", "stream", "response_format"):
            if name in parameters:
                raise ValueError(f"parameters.{name} is set by limrank; leave it out")
        return parameters

    @property
    def server(self) -> Server:
        """Where it is."""
        return Server(self.base_url, self.key_env, self.concurrency, self.timeout, self.retries)


class Filters(Record):
    """What a pair must be to stay (`limrank_ir.synth.filters`).

    Attributes:
        relabel: a passage of which all judgments say the contrary of what was intended gets their label; else it is
            dropped.
        trace_words: the least and the most words of a trace.
        duplicate: Jaccard similarity of word 3-grams from which two texts count as one.
        hard: a negative must be among so many best of BM25 or of the dense model, among all passages; None: any.
        benchmarks: files of queries (topics, JSONL) with which no query may share a word 8-gram.
    """

    relabel: bool = False
    trace_words: tuple[int, int] = (10, 1000)
    duplicate: float = Field(default=0.7, gt=0, le=1)
    hard: int | None = Field(default=50, ge=1)
    benchmarks: tuple[Path, ...] = ()


class SynthConfig(Record):
    """A synthesis.

    Attributes:
        seeds: JSONL or TSV of simple queries (``id``/``qid``, ``query``).
        personas: JSONL of persons (``persona`` or ``text``; optional ``id``, ``domain``), or one a line.
        couples: how many seeds and personas to couple; each couple gives two queries.
        negatives: negatives a query.
        generator: writes queries, outlines and passages.
        judge: judges pairs; a model that reasons.
        samples: how often each pair is judged.
        attempts: how often an unusable answer is asked for again, the first time included.
        guidelines: quotas and types; None: the package's own.
        prompts: a folder with your versions of all files in ``synth/prompts``; None: the package's own.
        filters: what stays.
        license: of the rows, as seeds, personas and models allow it; without one `limrank train` refuses them.
        about: what else the data card shall say, such as who answered the requests.
        output: the folder for the journal and the results, relative to this file.
        seed: of all that is drawn.
    """

    seeds: Path
    personas: Path
    couples: int = Field(ge=1)
    negatives: int = Field(default=3, ge=1, le=8)
    generator: ChatModel = ChatModel(model="gpt-4o", parameters={"temperature": 1.0})
    judge: ChatModel = ChatModel(
        model="deepseek-reasoner",
        base_url="https://api.deepseek.com",
        key_env="DEEPSEEK_API_KEY",
        structured="none",
    )
    samples: int = Field(default=2, ge=1, le=16)
    attempts: int = Field(default=3, ge=1)
    guidelines: Path | None = None
    prompts: Path | None = None
    filters: Filters = Filters()
    license: str | None = None
    about: str | None = None
    output: Path
    seed: int = 20251123


def read_config(path: Path, *, output: Path | None = None) -> SynthConfig:
    """Read and check a configuration.

    Args:
        path: a YAML file; paths in it are relative to its folder.
        output: the folder for results, instead of the file's.

    Returns:
        The configuration, with absolute paths.

    Raises:
        InputError: the file cannot be read, is no YAML, or a setting is unknown or impossible.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: must hold settings (seeds, personas, couples, output, ...)")
    return _resolved(validated(SynthConfig, raw, path), path.absolute().parent, output)


def _resolved(config: SynthConfig, folder: Path, output: Path | None) -> SynthConfig:
    def at(path: Path) -> Path:
        return (folder / path.expanduser()).resolve()

    benchmarks = tuple(at(path) for path in config.filters.benchmarks)
    return config.model_copy(
        update={
            "seeds": at(config.seeds),
            "personas": at(config.personas),
            "guidelines": None if config.guidelines is None else at(config.guidelines),
            "prompts": None if config.prompts is None else at(config.prompts),
            "filters": config.filters.model_copy(update={"benchmarks": benchmarks}),
            "output": at(config.output) if output is None else output.expanduser().resolve(),
        }
    )
