"""The configuration of a synthesis: read from a YAML file and checked before any request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from limrank_ir.errors import InputError
from limrank_ir.llm.chat import Server
from limrank_ir.workshop.settings import read_yaml, validated

from .records import Record


class ChatModel(Record):
    """A model and how to reach it.

    Attributes:
        model: its name on the server.
        base_url: the server's URL; None: OpenAI's.
        identity: what stands for the server in the journal instead of its URL. If the same model gets another URL, set
            this, so that its saved answers are still used.
        key_env: the environment variable with the API key.
        concurrency: the maximum number of concurrent requests; ``"auto"``: 8 at first, up to 256 while the server gets
            faster and sets no rate limit (`limrank_ir.llm.pace.Pace`).
        timeout: seconds to wait for an answer.
        retries: see `limrank_ir.llm.chat.Server`.
        structured: how to request JSON: ``"schema"`` (response_format json_schema), ``"object"`` (json_object), or
            ``"none"`` for servers that support neither.
        parameters: more fields for every request: temperature, max_tokens, ...
    """

    model: str = Field(min_length=1)
    base_url: str | None = None
    identity: str | None = Field(default=None, min_length=1)
    key_env: str = "OPENAI_API_KEY"
    concurrency: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    timeout: float = Field(default=600, gt=0)
    retries: int = Field(default=6, ge=0)
    structured: Literal["schema", "object", "none"] = "schema"
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, base_url: str | None) -> str | None:
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://, as in http://localhost:8000/v1")
        _ = urlsplit(base_url or "").port  # raises ValueError if it is not a number
        return base_url

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name in ("model", "messages", "n", "seed", "stream", "response_format"):
            if name in parameters:
                raise ValueError(f"parameters.{name} is set by limrank; leave it out")
        return parameters

    @property
    def server(self) -> Server:
        """The server, for `limrank_ir.llm.chat`."""
        return Server(self.base_url, self.key_env, self.concurrency, self.timeout, self.retries)

    @property
    def address(self) -> str:
        """The server's name in the journal."""
        return self.identity or self.server.address

    @property
    def greedy(self) -> str:
        """The parameter that makes all answers to a prompt the same, whatever the seed: "temperature: 0"; or ""."""
        for name, value in (("temperature", 0), ("top_k", 1), ("top_p", 0)):
            if name in self.parameters and self.parameters[name] == value:
                return f"{name}: {value}"
        return ""


class Filters(Record):
    """Settings of the filters (`limrank_ir.synth.filters`).

    Attributes:
        relabel: what happens when all judgments contradict the intended label: true: the pair takes their label;
            false: it is dropped.
        leak: how well the planned contents of passages may give their labels away (the area under the ROC curve of
            `limrank_ir.synth.filters.leaks`). Above this by more than chance, the run stops before it pays for the
            passages; None: never.
        duplicate: the Jaccard similarity of word 3-grams from which two texts count as duplicates.
        paraphrase: the cosine of MiniLM's embeddings from which two queries, or passages of different queries, count
            as duplicates; None: only words are compared.
        hard: BM25 or the dense model must rank a negative above its query's positive, or at most this many places
            below it, among all passages; None: anywhere.
        benchmarks: files of topics; queries that contain one of theirs are dropped
            (`limrank_ir.workshop.contamination`).
        audit: files of marks that the audit page saved; pairs whose label or reasoning they mark as wrong are dropped.
    """

    relabel: bool = False
    leak: float | None = Field(default=0.6, ge=0.5, le=1)
    duplicate: float = Field(default=0.7, gt=0, le=1)
    paraphrase: float | None = Field(default=0.88, gt=0, le=1)
    hard: int | None = Field(default=10, ge=0)
    benchmarks: tuple[Path, ...] = ()
    audit: tuple[Path, ...] = ()


class SynthConfig(Record):
    """The configuration of a synthesis.

    Attributes:
        seeds: simple queries: JSONL (``id`` or ``qid``, ``query``) or TSV.
        personas: JSONL (``persona`` or ``text``; optionally ``id``, ``domain``), or one per line.
        couples: how many couples of a seed and a persona to draw; each gives two queries.
        negatives: the number of negatives per query.
        generator: the model that writes queries, outlines, and passages.
        judge: the model that judges pairs; one that reasons.
        samples: the number of judgments per pair.
        attempts: the maximum number of requests for one usable answer.
        guidelines: quotas and types; None: the package's ``guidelines.yaml``.
        prompts: a folder with your versions of all files in ``synth/prompts``; None: that folder.
        filters: settings of the filters.
        license: of the rows, as seeds, personas, and models allow; without one, `limrank train` refuses them.
        about: more text for the data card, such as who answered the requests.
        output: the folder for the journal and the results, relative to this file.
        seed: the random seed.
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
        output: a folder for results that replaces the one in the file.

    Returns:
        The configuration, with absolute paths.

    Raises:
        InputError: the file cannot be read or is not YAML, or a setting is unknown or invalid.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a mapping; write settings: seeds, personas, couples, output, ...")
    return _resolved(validated(SynthConfig, raw, path), path.absolute().parent, output)


def _resolved(config: SynthConfig, folder: Path, output: Path | None) -> SynthConfig:
    def at(path: Path) -> Path:
        return (folder / path.expanduser()).resolve()

    listed = {name: tuple(map(at, getattr(config.filters, name))) for name in ("benchmarks", "audit")}
    return config.model_copy(
        update={
            "seeds": at(config.seeds),
            "personas": at(config.personas),
            "guidelines": None if config.guidelines is None else at(config.guidelines),
            "prompts": None if config.prompts is None else at(config.prompts),
            "filters": config.filters.model_copy(update=listed),
            "output": at(config.output) if output is None else output.expanduser().resolve(),
        }
    )
